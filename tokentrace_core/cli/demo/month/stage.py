"""One telling of the month: its time, its providers, and what every call is billed.

The month is told twice: as it is recorded, and, only reckoned, as well kept agents would do it. So what is planted is known
to the token and the nano-dollar: it is the difference between two calls that have the same place in the same run, or
all of a call that the well kept agent does not make.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tokentrace_core.cli.demo.month.provider import Answer, Message, Model, Provider, reply_of
from tokentrace_core.cli.demo.month.timeline import StoryTime
from tokentrace_core.pricing import PriceBook
from tokentrace_core.tracer import Tracer
from tokentrace_core.usage import Usage


class Visit(NamedTuple):
    """One run to be made: who asks which agent for what, and when."""

    agent: str
    number: int
    at: int
    """Microseconds since the epoch."""
    user: str | None
    version: str
    plant: frozenset[str] = frozenset()
    """What is planted in it."""
    day: int = 0
    """Of the month, from 0."""
    incident: bool = False
    """A tool it needs is at its rate limit."""
    polite: bool = False
    """Where answers may begin with a preamble, this one's would."""


class Bill(NamedTuple):
    """One call, as the provider bills it."""

    usage: Usage
    nano_usd: int
    nano_usd_of_output: int
    kind: str | None = None
    """What may be planted there: in what is sent, or in that it is sent at all."""
    ids: tuple[str, str] | None = None
    """Run and call, if it was recorded."""


#: Agent, number of the run, and the call's place in it.
Key = tuple[str, int, str]


class Request(NamedTuple):
    """What is sent to a model. `mark`: the first so many messages are to be cached, with Anthropic."""

    model: Model
    messages: Sequence[Message]
    tools: Sequence[Any]
    mark: int


class Stage:
    """Where the agents work. Without a tracer nothing is recorded."""

    def __init__(self, time: StoryTime, prices: PriceBook, tracer: Tracer | None = None) -> None:
        self.time = time
        self.tracer = tracer
        self.bills: dict[Key, Bill] = {}
        self._prices = prices
        self._provider = Provider()

    def serve(self, key: Key, request: Request, answer: Answer, kind: str | None) -> tuple[Any, list[str]]:
        """The provider's reply, which goes on the bill, and the ids of the tool calls in it."""
        model, messages, tools, mark = request
        said: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tools:
            said["tool_calls"] = [{"name": name, "arguments": arguments} for name, arguments in answer.tools]
        usage = self._provider.usage(model, messages, tools, said, self.time.at, mark=mark)
        whole, output = self._price(model, usage), Usage(output_tokens=usage.output_tokens)
        self.bills[key] = Bill(usage, whole, self._price(model, output), kind)
        label = hashlib.blake2b(repr((self.time.seed, *key)).encode(), digest_size=8).hexdigest()
        return reply_of(model, answer, usage, label)

    def note_ids(self, key: Key, run_id: str, call_id: str) -> None:
        """The call was recorded under these."""
        self.bills[key] = self.bills[key]._replace(ids=(run_id, call_id))

    def _price(self, model: Model, usage: Usage) -> int:
        at = datetime.fromtimestamp(self.time.at / 1e6, UTC)
        priced = self._prices.price_call(
            model.name, model.answers_as, usage, provider=model.provider, at=at, tier=None
        )
        return priced.nano_usd or 0
