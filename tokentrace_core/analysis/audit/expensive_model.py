"""Expensive model on trivial steps: a large model asked, again and again, for a few words about a short text.

A step is trivial if nearly all of its calls (95 of 100) have a short prompt, a reply of a few tokens and no tool in it: sorting, routing, yes or no. What
it would have cost: the same tokens at the price of the provider's small model of the same line (`SMALLER`). Only dollars are wasted, no
tokens. Whether the small model does it as well is for a test to say (`tokentrace` records scores); the finding says what is at stake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from msgspec import Struct

from tokentrace_core.analysis.audit.calls import Call, Page, TracedRun
from tokentrace_core.analysis.audit.findings import Title, plain
from tokentrace_core.analysis.audit.looks import Case, Look

#: A model's name, without its date -> the small one of its line. What is small itself is not in it.
SMALLER = {
    "gpt-4o": "gpt-4o-mini",
    "gpt-4.1": "gpt-4.1-mini",
    "gpt-4-turbo": "gpt-4o-mini",
    "gpt-4": "gpt-4o-mini",
    "gpt-5": "gpt-5-mini",
    "gpt-5.1": "gpt-5-mini",
    "gpt-5.2": "gpt-5-mini",
    "o1": "o4-mini",
    "o3": "o4-mini",
    "claude-3-opus": "claude-haiku-4-5",
    "claude-3-5-sonnet": "claude-haiku-4-5",
    "claude-3-7-sonnet": "claude-haiku-4-5",
    "claude-sonnet-4": "claude-haiku-4-5",
    "claude-sonnet-4-5": "claude-haiku-4-5",
    "claude-opus-4": "claude-haiku-4-5",
    "claude-opus-4-1": "claude-haiku-4-5",
    "claude-opus-4-5": "claude-haiku-4-5",
    "gemini-1.5-pro": "gemini-2.5-flash",
    "gemini-2.5-pro": "gemini-2.5-flash",
    "mistral-large": "mistral-small-latest",
}
KIND = "expensive_model"
#: A word or two, or a short JSON object.
FEW_TOKENS = 32
SHORT_PROMPT = 2_000
NEARLY_ALL = 0.95
LEAST_CALLS = 20
_DATE = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d|latest)$")


#: A reply that stopped so is a tool's, or is no answer.
_NO_ANSWER = frozenset({"tool_calls", "tool_use", "function_call", "length", "max_tokens"})

Where = tuple[str, str | None, str | None]
"""Agent, step name, model."""


class Kind(Struct, array_like=True):
    """Calls of one model in one step of an agent."""

    where: Where
    calls: int = 0
    trivial: int = 0
    answered: str = ""
    """The last of the names that answered."""

    def join(self, other: Kind) -> None:
        self.calls += other.calls
        self.trivial += other.trivial
        self.answered = max(self.answered, other.answered)


class ExpensiveModel(Look[list[Kind]]):
    tells = list[Kind]

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._kinds: dict[Where, Kind] = {}
        self._smaller: dict[Where, str] = {}

    def see(self, page: Page) -> None:
        for call in page.calls:
            if not call.is_chat or call.status != "success":
                continue
            where = call.who, call.step.name, call.model
            kind = self._kinds.get(where)
            if kind is None:
                kind = self._kinds[where] = Kind(where)
            kind.calls += 1
            if _is_trivial(call):
                kind.trivial += 1
            if call.answered is not None and call.answered > kind.answered:
                kind.answered = call.answered

    def told(self) -> list[Kind]:
        return list(self._kinds.values())

    def hear(self, told: list[Kind]) -> None:
        for kind in told:
            known = self._kinds.setdefault(kind.where, kind)
            if known is not kind:
                known.join(kind)

    def again(self) -> Iterable[str]:
        for where, kind in self._kinds.items():
            smaller = _smaller(where[2] or kind.answered)
            if smaller and kind.calls >= LEAST_CALLS and kind.trivial >= NEARLY_ALL * kind.calls:
                self._smaller[where] = smaller
        return self.case.runs_of({agent for agent, _, _ in self._smaller})

    def see_again(self, run: TracedRun) -> None:
        for call in run.calls:
            where = call.who, call.step.name, call.model
            smaller = self._smaller.get(where)
            other = self.account.rates.another(smaller, call) if smaller else None
            if other is not None:
                agent, step, model = where
                title = (
                    f"{plain(agent)}: {plain(model)} for a few words in step {plain(step or 'without a name')}, "
                    f"where {smaller} may do ({{calls}} calls)"
                )
                cause = agent, step or "", model or ""
                self.tally.add(KIND, call, cause, partial(Title, title), [self.account.rest(call, other)])


def _is_trivial(call: Call) -> bool:
    return (
        0 < call.output - call.reasoning <= FEW_TOKENS
        and call.prompt <= SHORT_PROMPT
        and call.stop_reason not in _NO_ANSWER
    )


def _smaller(model: str) -> str | None:
    return SMALLER.get(_DATE.sub("", model.lower().rpartition("/")[2]))
