"""A run as an audit looks at it: its model calls and tool calls, flat, each with its step and its run.

A call belongs to a conversation: the loop of one agent in one run, told apart by the agent's name and by the tool call that
spawned it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Struct

from tokentrace_core.analysis.audit.nodes import Node
from tokentrace_core.analysis.audit.tariff import Tariff

Key = tuple[str, str]
"""Run and call: ids are unique within their run."""
Talk = tuple[str | None, str | None]
"""Which conversation of a run."""


class Run(Struct, array_like=True, frozen=True, gc=False):
    """What calls have in common."""

    id: str
    name: str
    framework: str | None
    session_id: str
    expired: str | None
    """What retention has taken of it."""
    rows: int
    """How many calls it has, of models and tools, in the scope or not."""
    started_at: int


class Step(Struct, array_like=True, frozen=True, gc=False):
    """One step of an agent. `place`: of its run, among those that are read at once; so of calls."""

    place: int
    id: str
    agent: str | None
    name: str | None
    number: int | None
    """In the agent's loop, from 1."""
    spawned_by: str | None


NO_RUN = Run("", "", None, "", None, 0, 0)
NO_STEP = Step(0, "", None, None, None, None)


class Call(Struct, array_like=True, eq=False, gc=False):
    """One model call. There are a million of them, so that whoever reads them sets run, step and prompt when all is there."""

    place: int
    id: str
    step_id: str | None
    model: str | None
    answered: str | None
    provider: str | None
    uncached: int
    read: int
    write_5m: int
    write_1h: int
    prompt: int
    """Tokens of all of it."""
    output: int
    reasoning: int
    cost: int | None
    """Nano-dollars; None: without a price."""
    cost_status: str | None
    started_at: int
    ended_at: int | None
    status: str
    prompt_id: str | None
    tools_id: str | None
    tier: str | None
    stop_reason: str | None
    is_estimated: int
    is_chat: int
    filler_ppm: int | None
    """Millionths of the reply that are filler; None: not known."""
    reply_id: str | None
    """The reply's message, if it has to be read for that."""
    run: Run = NO_RUN
    step: Step = NO_STEP
    who: str = ""
    """The agent, as people call it."""
    leaf: Node | None = None
    """The last message of its prompt, if prompts were read."""
    tariff: Tariff | None = None
    """What it paid per token, once somebody has asked."""

    @property
    def key(self) -> Key:
        return self.run.id, self.id

    @property
    def talk(self) -> Talk:
        return self.step.agent, self.step.spawned_by


class ToolUse(Struct, array_like=True, eq=False, gc=False):
    """One tool call."""

    place: int
    id: str
    step_id: str | None
    name: str
    arguments_hash: str | None
    begins: str | None
    """How its result begins (`BEGINNING` characters)."""
    result_bytes: int | None
    status: str
    started_at: int
    asked_as: str | None
    """The id under which the model asked for it."""
    run: Run = NO_RUN
    step: Step = NO_STEP

    @property
    def talk(self) -> Talk:
        return self.step.agent, self.step.spawned_by

    @property
    def who(self) -> str:
        return self.step.agent or self.run.name


Made = TypeVar("Made", Call, ToolUse)

#: Results may be of any size, and few have to be compared in full.
BEGINNING = 64


class TracedRun(NamedTuple):
    """One run with what of it is in the scope, in the order of time."""

    run: Run
    calls: list[Call]
    tools: list[ToolUse]


class Page:
    """Some runs that were read at once: all their calls and tool calls, run by run, those of a run in the order of time."""

    def __init__(self, runs: Sequence[Run], calls: list[Call], tools: list[ToolUse]) -> None:
        self._runs, self.calls, self.tools = runs, calls, tools

    def __len__(self) -> int:
        """How many runs it has, with those that have nothing in the scope."""
        return len(self._runs)

    def runs(self, places: Container[int] | None = None) -> Iterator[TracedRun]:
        """Those at these places, or all; those that have nothing in the scope are left out."""
        of_calls, of_tools = _by_place(self.calls, places), _by_place(self.tools, places)
        for place in sorted({*of_calls, *of_tools}):
            yield TracedRun(self._runs[place], of_calls.get(place, []), of_tools.get(place, []))


def _by_place(made: Iterable[Made], places: Container[int] | None) -> dict[int, list[Made]]:
    found: dict[int, list[Made]] = defaultdict(list)
    for each in made:
        if places is None or each.place in places:
            found[each.place].append(each)
    return found
