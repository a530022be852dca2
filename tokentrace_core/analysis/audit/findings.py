"""A finding: one cause of waste, what it cost, the calls that prove it, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter

from msgspec import Struct

from tokentrace_core.analysis.audit import fixes, proof
from tokentrace_core.analysis.audit.account import Waste
from tokentrace_core.analysis.audit.calls import Call, Key
from tokentrace_core.analysis.audit.prompts import Prompts, beginning, difference

Cause = tuple[str, ...]
"""What tells the findings of one kind apart; its first part is the agent."""
#: Characters of a text that a title shows.
_BEGINS, _DIFFERS = 48, 40


class Title(Struct, frozen=True):
    """What a finding is called."""

    text: str
    """`{times}` and `{calls}` stand for those figures, `{begins}` for how the message begins, `{differs}` for where the two part."""
    messages: tuple[str, ...] = ()
    """Ids of messages: whoever tells the title looks into them, since a title is kept longer than a text may be."""

    def told(self, prompts: Prompts, **figures: str) -> str:
        texts = [prompts.text(message) for message in self.messages]
        if len(texts) == 1:
            figures["begins"] = beginning(texts[0], _BEGINS)
        elif texts:
            figures["differs"] = difference(texts[0], texts[1], _DIFFERS)
        return self.text.format(**figures)


@dataclass(frozen=True)
class Finding:
    """One cause of waste. Amounts are net: what it really cost, less what it would have cost."""

    kind: str
    """A key of `fixes.FIXES`, whose module defines it."""
    title: str
    cause: Cause
    """What tells it from others of its kind, also in another week."""
    framework: str | None
    wastes: Sequence[Waste] = field(repr=False)
    """What is claimed of each call, in the order of time."""
    times: int
    """How often it happened: storms, loops, repeats, replies."""

    @property
    def agent(self) -> str:
        return self.cause[0]

    @property
    def wasted_tokens(self) -> int:
        return sum(waste.tokens for waste in self.wastes)

    @cached_property
    def wasted_nano_usd(self) -> int:
        return sum(waste.nano for waste in self.wastes)

    @property
    def calls(self) -> list[Key]:
        """(run id, call id) of each model call that proves it."""
        return [waste.key for waste in self.wastes]

    @property
    def first_seen(self) -> int:
        """Microseconds since the epoch."""
        return min(waste.at for waste in self.wastes)

    @property
    def last_seen(self) -> int:
        return max(waste.at for waste in self.wastes)

    @property
    def fix(self) -> str:
        """What to change, in the words of the agent's framework."""
        return fixes.fix(self.kind, self.framework)

    @property
    def sql(self) -> str:
        """A query that any SQLite shell runs on the file: a row per call with its wasted tokens and nano-dollars."""
        return proof.sql(self.title, self.wastes)


def plain(name: object) -> str:
    """A name as part of a title: what it may hold is no place for a figure."""
    return str(name).replace("{", "(").replace("}", ")")


class Wasted(Struct):
    """What was wasted by one cause: some of it, or all."""

    kind: str
    cause: Cause
    title: Title
    framework: str | None
    """As of the first call."""
    times: int = 0
    wastes: list[Waste] = []

    def join(self, other: Wasted) -> None:
        """What the same cause has wasted later."""
        self.times += other.times
        self.wastes += other.wastes

    def finding(self, prompts: Prompts) -> Finding:
        self.wastes.sort(key=attrgetter("at"))
        title = self.title.told(prompts, times=f"{self.times:,}", calls=f"{len(self.wastes):,}")
        return Finding(self.kind, title, self.cause, self.framework, self.wastes, self.times)


class Tally:
    """Gathers wastes by their kind and cause."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Cause], Wasted] = {}

    def add(
        self,
        kind: str,
        call: Call,
        cause: Cause,
        title: Callable[[], Title],
        wastes: Iterable[Waste | None],
        times: int = 1,
    ) -> None:
        """Something that happened once more (or `times`), as this call shows. `title`: asked once per cause."""
        made = [waste for waste in wastes if waste is not None]
        if not made:
            return
        found = self._found.get((kind, cause))
        if found is None:
            found = self._found[kind, cause] = Wasted(kind, cause, title(), call.run.framework)
        found.wastes += made
        found.times += times

    def told(self) -> list[Wasted]:
        """All of it, in the order in which the causes came up."""
        return list(self._found.values())

    def hear(self, told: Iterable[Wasted]) -> None:
        """What another tally has gathered of what came later."""
        for wasted in told:
            found = self._found.setdefault((wasted.kind, wasted.cause), wasted)
            if found is not wasted:
                found.join(wasted)
