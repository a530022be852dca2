"""A finding: one cause of waste, what it cost, the calls that prove it, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tokentrace_core.analysis.audit import fixes, proof
from tokentrace_core.analysis.audit.account import Waste
from tokentrace_core.analysis.audit.calls import Call, Key

Cause = tuple[str, ...]
"""What tells the findings of one kind apart; its first part is the agent."""
Title = Callable[[], str]
"""Asked once per cause, because it may have to look at texts. `{times}` and `{calls}` stand for those figures."""


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


class Tally:
    """Gathers the wastes of one kind, by cause."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._wastes: dict[Cause, list[Waste]] = {}
        self._titles: dict[Cause, tuple[str, str | None]] = {}
        self._times: dict[Cause, int] = {}

    def add(
        self, call: Call, cause: Cause, title: Title, wastes: Iterable[Waste | None], times: int = 1
    ) -> None:
        """Something that happened once more (or `times`), as this call shows."""
        found = [waste for waste in wastes if waste is not None]
        if not found:
            return
        if cause not in self._titles:
            self._titles[cause] = title(), call.run.framework
        self._wastes.setdefault(cause, []).extend(found)
        self._times[cause] = self._times.get(cause, 0) + times

    def findings(self) -> list[Finding]:
        made = []
        for cause, wastes in self._wastes.items():
            wastes.sort(key=lambda waste: waste.at)
            title, framework = self._titles[cause]
            times = self._times[cause]
            told = title.format(times=f"{times:,}", calls=f"{len(wastes):,}")
            made.append(Finding(self.kind, told, cause, framework, wastes, times))
        return made
