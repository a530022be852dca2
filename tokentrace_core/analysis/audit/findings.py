"""A finding: one cause of waste, what it cost, the calls that prove it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tokentrace_core.analysis.audit import fixes, proof
from tokentrace_core.analysis.audit.account import Waste
from tokentrace_core.analysis.audit.calls import Key


@dataclass(frozen=True)
class Finding:
    """One cause of waste. Amounts are net: what it really cost, less what it would have cost."""

    kind: str
    """A key of `fixes.FIXES`, whose module defines it."""
    title: str
    agent: str
    framework: str | None
    wastes: Sequence[Waste] = field(repr=False)
    """What is claimed of each call, in the order of time."""
    times: int = 0
    """How often it happened: storms, loops, repeats, replies."""

    @property
    def wasted_tokens(self) -> int:
        return sum(waste.tokens for waste in self.wastes)

    @cached_property
    def wasted_nano_usd(self) -> int:
        return sum(waste.nano for waste in self.wastes)

    @property
    def calls(self) -> list[Key]:
        """(run id, call id) of each model call that proves it."""
        return [waste.call.key for waste in self.wastes]

    @property
    def first_seen(self) -> int:
        """Microseconds since the epoch."""
        return min(waste.call.started_at for waste in self.wastes)

    @property
    def last_seen(self) -> int:
        return max(waste.call.started_at for waste in self.wastes)

    @property
    def fix(self) -> str:
        """What to change, in the words of the agent's framework."""
        return fixes.fix(self.kind, self.framework)

    @property
    def sql(self) -> str:
        """A query that any SQLite shell runs on the file: a row per call with its wasted tokens and nano-dollars."""
        return proof.sql(self.title, self.wastes)


class Tally:
    """Gathers the wastes of one kind, by cause."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._wastes: dict[tuple[str, ...], list[Waste]] = {}
        self._titles: dict[tuple[str, ...], str] = {}
        self._times: dict[tuple[str, ...], int] = {}

    def add(self, cause: tuple[str, ...], title: str, wastes: Iterable[Waste | None], times: int = 1) -> None:
        """Something that happened once more. `cause`: what tells findings apart; its first part is the agent."""
        found = [waste for waste in wastes if waste is not None]
        if not found:
            return
        self._titles.setdefault(cause, title)
        self._wastes.setdefault(cause, []).extend(found)
        self._times[cause] = self._times.get(cause, 0) + times

    def times(self, cause: tuple[str, ...]) -> int:
        return self._times.get(cause, 0)

    def findings(self) -> list[Finding]:
        made = []
        for cause, wastes in self._wastes.items():
            wastes.sort(key=lambda waste: waste.call.started_at)
            title = self._titles[cause].format(times=self._times[cause], calls=len(wastes))
            framework = wastes[-1].call.framework
            made.append(Finding(self.kind, title, cause[0], framework, wastes, self._times[cause]))
        return made
