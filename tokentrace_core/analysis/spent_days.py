"""The digest of what was spent: runs that no question can tell apart are one entry, with how many they are.

Alike are runs of one kind whose calls fall into the same groups (agent, step name, model, day or hour, status). They are in the
same groups of any answer, and in none but together: so also the number of runs in each stays exact. By hour there are ten times
as many entries, so only who asks for hours gets these.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from operator import add, attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tokentrace_core.analysis.days import Made
from tokentrace_core.analysis.dimensions import OF_CALL, OF_STEP, TAG, TIMES
from tokentrace_core.analysis.kinds import COLUMNS, DAY, OF_KIND
from tokentrace_core.analysis.scope import Time
from tokentrace_core.analysis.synopses import IS_THERE, Facts, Runs, runs_of_time
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import CallSums, Costs, Model, Part

#: What this digest tells apart.
GROUPS = frozenset({*OF_KIND, TAG, *OF_STEP, *OF_CALL, *TIMES})

#: Runs that are laid together, before they leave the processor's cache.
_MANY = 300
#: Where the figures of a row begin: what comes before is what it is of.
_FIGURES = CallSums._fields.index("calls")

_HOURS = 24
_Group = tuple[Part, Model, int, str]
"""And hour (the first of the day, if hours are not told apart), and status."""


class Alike(Struct, array_like=True, gc=False):
    """Runs that are alike."""

    facts: Facts
    """Of their kind."""
    runs: int
    costs: Costs
    """Of all of them."""


class SpentDays:
    """The form of these digests."""

    def __init__(self, *, by_hour: bool) -> None:
        self.kind = "spent by hour 1" if by_hour else "spent 1"
        self._hours = 1 if by_hour else _HOURS

    def make(self, reader: Reader, time: Time) -> dict[int, Made[Alike]]:
        making = _Making(self._hours)
        for runs, summed_up in runs_of_time(reader, time, [*COLUMNS, DAY], Costs, IS_THERE):
            making.add(runs, summed_up)
        return making.done()

    def encoded(self, entries: list[Alike]) -> bytes:
        return msgspec.json.encode(entries)

    def decoded(self, body: bytes) -> list[Alike]:
        return _decode(body)


_decode = msgspec.json.Decoder(list[Alike]).decode


class _Making:
    """Digests of some days in the making."""

    def __init__(self, hours: int) -> None:
        """`hours`: so many are one."""
        self._hours = hours
        self._days: dict[int, _Day] = defaultdict(_Day)
        self._waiting: dict[tuple[Any, ...], list[Costs]] = defaultdict(list)
        self._runs = 0

    def add(self, runs: Runs[Costs], summed_up: list[int]) -> None:
        """Runs, and the places of those that are not as the writer left them. The last of their facts is the day."""
        waiting, hours = self._waiting, self._hours
        for facts, synopsis in zip(runs.facts, runs.synopses, strict=True):
            groups = tuple([(row[0], row[1], row[2] // hours * hours, row[3]) for row in synopsis.calls])
            waiting[facts, synopsis.parts, synopsis.models, groups].append(synopsis)
        for place in summed_up:
            self._days[runs.facts[place][-1]].is_sure = False
        self._runs += len(runs.synopses)
        if self._runs > _MANY:
            self._sum_up()

    def done(self) -> dict[int, Made[Alike]]:
        self._sum_up()
        return {day: found.made() for day, found in self._days.items()}

    def _sum_up(self) -> None:
        for (facts, parts, models, groups), alike in self._waiting.items():
            named = [(parts[part], models[model], *rest) for part, model, *rest in groups]
            self._days[facts[-1]].add(facts[:-1], named, alike)
        self._waiting.clear()
        self._runs = 0


class _Day:
    """What is known of one day so far."""

    def __init__(self) -> None:
        self.is_sure = True
        self._runs = 0
        self._first: list[int] = []
        self._last: list[int] = []
        self._found: dict[tuple[Facts, frozenset[_Group]], _Sums] = {}

    def add(self, facts: Facts, groups: list[_Group], runs: list[Costs]) -> None:
        """Runs with the same facts, and with rows of these groups, in this order."""
        self._runs += len(runs)
        if not groups:  # nothing was spent
            return
        sums = self._found.setdefault((facts, frozenset(groups)), _Sums(groups))
        sums.add(groups, runs)
        self._first.append(min(map(attrgetter("first"), runs)))
        self._last.append(max(map(attrgetter("last"), runs)))

    def made(self) -> Made[Alike]:
        entries = [Alike(facts, sums.runs, sums.costs()) for (facts, _), sums in self._found.items()]
        first, last = min(self._first, default=None), max(self._last, default=None)
        return Made(entries, self._runs, first, last, self.is_sure)


class _Sums:
    """Of runs that are alike."""

    def __init__(self, groups: list[_Group]) -> None:
        self.runs = 0
        self._of = {group: [0] * (len(CallSums._fields) - _FIGURES) for group in groups}

    def add(self, groups: list[_Group], runs: list[Costs]) -> None:
        """Runs with rows of these groups, in this order."""
        self.runs += len(runs)
        for group, rows in zip(groups, zip(*[run.calls for run in runs], strict=True), strict=True):
            figures = map(sum, islice(zip(*rows, strict=True), _FIGURES, None))
            self._of[group] = list(map(add, self._of[group], figures))

    def costs(self) -> Costs:
        parts: dict[Part, int] = {}
        models: dict[Model, int] = {}
        calls = [
            CallSums(
                parts.setdefault(part, len(parts)),
                models.setdefault(model, len(models)),
                hour,
                status,
                *figures,
            )
            for (part, model, hour, status), figures in self._of.items()
        ]
        return Costs(parts=tuple(parts), models=tuple(models), calls=calls)
