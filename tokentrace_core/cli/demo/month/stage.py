"""Where the agents of the month do their work: every run twice, as it is told and as a well kept agent would do it.

The second time nothing is recorded; what it would have used is reckoned by a provider of its own. So what is planted
is known to the token and the nano-dollar: it is the difference between two calls that have the same place in the same
run, or all of a call that the well kept agent does not make.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tokentrace_core.call_blocks import LLMBlock
from tokentrace_core.cli.demo.month.provider import MODELS, Answer, Message, Provider, reply_of, tokens_of
from tokentrace_core.cli.demo.month.timeline import StoryTime
from tokentrace_core.pricing import PriceBook
from tokentrace_core.tracer import Tracer
from tokentrace_core.usage import Usage


class Bill(NamedTuple):
    """One call, as the provider bills it."""

    usage: Usage
    nano_usd: int
    ids: tuple[str, str] | None
    """Run and call, if it was recorded."""
    kind: str | None
    """What is planted there."""


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


class ToolFault(Exception):
    """A tool that does not work."""


class ModelFault(Exception):
    """A provider that does not answer."""


class Stage:
    """One telling of the month. Without a tracer it is only reckoned."""

    def __init__(self, time: StoryTime, prices: PriceBook, tracer: Tracer | None) -> None:
        self.time = time
        self.tracer = tracer
        self.bills: dict[tuple[str, int, str], Bill] = {}
        """By agent, number of the run, and the call's place in it."""
        self._prices = prices
        self._provider = Provider()

    @contextmanager
    def run(self, visit: Visit, session: str, **facts: Any) -> Iterator[Scene]:
        """The run of a visit. What leaves it is recorded, and goes no further."""
        self.time.at = visit.at
        with ExitStack() as blocks:
            try:
                with self._recorded(visit, session, facts) as run:
                    yield Scene(self, visit, run)
            except (ToolFault, ModelFault, TimeoutError):
                pass
            finally:
                blocks.close()

    @contextmanager
    def _recorded(self, visit: Visit, session: str, facts: dict[str, Any]) -> Iterator[Any]:
        if self.tracer is None:
            yield None
            return
        with self.tracer.session(session, user=visit.user):
            with self.tracer.run(visit.agent, agent_version=visit.version, **facts) as run:
                yield run

    def price(self, model: str, usage: Usage) -> int:
        at = datetime.fromtimestamp(self.time.at / 1e6, UTC)
        answered = MODELS[model].answers_as
        priced = self._prices.price_call(
            model, answered, usage, provider=MODELS[model].provider, at=at, tier=None
        )
        return priced.nano_usd or 0

    def bill(
        self,
        scene: Scene,
        place: str,
        model: str,
        request: tuple[Sequence[Message], Sequence[Any], int],
        answer: Answer,
        kind: str | None,
    ) -> tuple[Usage, dict[str, Any], list[str], tuple[str, int, str]]:
        messages, tools, mark = request
        known = MODELS[model]
        said: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.tools:
            said["tool_calls"] = [{"name": name, "arguments": arguments} for name, arguments in answer.tools]
        usage = self._provider.usage(known, messages, tools, said, self.time.at, mark=mark)
        key = (scene.visit.agent, scene.visit.number, place)
        label = hashlib.blake2b(repr((self.time.seed, *key)).encode(), digest_size=8).hexdigest()
        reply, ids = reply_of(known, answer, usage, label)
        self.bills[key] = Bill(usage, self.price(model, usage), None, kind)
        return usage, reply, ids, key


class Scene:
    """A run under way, or an agent inside it: it asks models and uses tools, and time passes."""

    def __init__(self, stage: Stage, visit: Visit, run: Any) -> None:
        self.stage = stage
        self.visit = visit
        self.run = run

    def chance(self, what: str) -> random.Random:
        """Luck of this run, one string of it per matter: what is planted in one does not change the others."""
        return random.Random(f"{self.stage.time.seed} {self.visit.agent} {self.visit.number} {what}")

    def ask(
        self,
        place: str,
        model: str,
        messages: Sequence[Message],
        answer: Answer,
        *,
        tools: Sequence[Any] = (),
        mark: int = 0,
        step: str | None = None,
        kind: str | None = None,
        **params: Any,
    ) -> list[dict[str, Any]]:
        """Ask a model; gives back its tool calls, with their ids. `place`: what the call is in its run.

        `mark`: cache the first so many messages, with Anthropic. `kind`: the waste that is planted here.
        """
        stage = self.stage
        usage, reply, ids, key = stage.bill(self, place, model, (messages, tools, mark), answer, kind)
        provider = MODELS[model]
        if mark:
            params["cache_control"] = {"type": "ephemeral"}
        if tools:
            params["tools"] = tools
        seconds = (
            self.chance(f"speed {place}").uniform(0.4, 0.9) + usage.output_tokens / provider.tokens_a_second
        )
        if stage.tracer is None:
            stage.time.later(seconds)
        else:
            block = self.run.llm(
                model, provider=provider.provider, messages=messages, step_name=step or place, **params
            )
            with block as call:
                stage.time.later(seconds)
                call.done(reply)
            self._note(key, block)
        return [
            {"id": key, "name": name, "arguments": dict(arguments)}
            for key, (name, arguments) in zip(ids, answer.tools, strict=True)
        ]

    def _note(self, key: tuple[str, int, str], block: LLMBlock) -> None:
        if block.span is not None:
            bills = self.stage.bills
            bills[key] = bills[key]._replace(ids=(block.span.run_id, block.span.id))

    def _estimated(self, place: str, block: LLMBlock) -> None:
        """What broke off is billed, and nobody says how much: by the recorder's estimate."""
        span = block.span
        if span is not None and span.cost_nano_usd:
            usage = Usage(
                input_uncached_tokens=span.input_uncached_tokens or 0, output_tokens=span.output_tokens or 0
            )
            key = (self.visit.agent, self.visit.number, place)
            self.stage.bills[key] = Bill(usage, span.cost_nano_usd, (span.run_id, span.id), None)

    def fail(
        self, model: str, messages: Sequence[Message], error: Exception, seconds: float, step: str
    ) -> None:
        """Ask a model that does not answer; nothing is billed. Raises the error."""
        if self.stage.tracer is None:
            self.stage.time.later(seconds)
            raise error
        block = self.run.llm(model, provider=MODELS[model].provider, messages=messages, step_name=step)
        try:
            with block:
                self.stage.time.later(seconds)
                raise error
        finally:
            self._estimated(f"{step} failed", block)

    def use(
        self,
        asked: Mapping[str, Any],
        result: Any,
        seconds: float,
        *,
        error: str | None = None,
        status: int | None = None,
        retrieval: bool = False,
    ) -> None:
        """Use a tool as the model asked for it: name, arguments and, of a model's own, its id."""
        if self.stage.tracer is None:
            self.stage.time.later(seconds)
            return
        kind = "retrieval" if retrieval else "tool"
        with self.run.tool(
            asked["name"], asked["arguments"], tool_call_id=asked.get("id"), kind=kind
        ) as tool:
            self.stage.time.later(seconds)
            tool.done(result, error=error, http_status=status)

    @contextmanager
    def delegate(self, asked: Mapping[str, Any], name: str) -> Iterator[Scene]:
        """A sub-agent that a tool call spawns. Not waited for: where it ends, time goes back to where it began."""
        began = self.stage.time.at
        if self.stage.tracer is None:
            yield Scene(self.stage, self.visit, None)
        else:
            tracer = self.stage.tracer
            with self.run.tool(asked["name"], asked["arguments"], tool_call_id=asked["id"]) as tool:
                with tracer.run(name) as agent:
                    yield Scene(self.stage, self.visit, agent)
                tool.done({"done": True})
        self.ended = max(getattr(self, "ended", 0), self.stage.time.at)
        self.stage.time.at = began

    def join(self) -> None:
        """Wait for the sub-agents."""
        self.stage.time.at = max(self.stage.time.at, getattr(self, "ended", 0))

    def finish(self, output: str, **scores: float) -> None:
        """The answer, and what somebody thought of it."""
        if self.run is not None:
            self.run.set_output(output)
            for name, value in scores.items():
                self.run.score(name, value)


def message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def turn(answer: Answer, asked: Sequence[Mapping[str, Any]], results: Sequence[str]) -> list[dict[str, Any]]:
    """What a turn adds to the conversation: the model's message, and what the tools gave."""
    said: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if asked:
        said["tool_calls"] = list(asked)
    given = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(asked, results, strict=True)
    ]
    return [said, *given]


__all__ = [
    "Answer",
    "Bill",
    "ModelFault",
    "Scene",
    "Stage",
    "ToolFault",
    "Visit",
    "message",
    "tokens_of",
    "turn",
]
