"""The digest of how runs went: what is measured of each kind of run, its numbers in order."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Struct

from tokentrace_core.analysis import kinds
from tokentrace_core.analysis.days import Made
from tokentrace_core.analysis.dimensions import TAG
from tokentrace_core.analysis.measured import COLUMNS, Measured
from tokentrace_core.analysis.scope import Time
from tokentrace_core.analysis.synopses import IS_KNOWN, Facts, Runs, runs_of_time
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import Synopsis

#: What this digest tells apart.
GROUPS = frozenset({*kinds.OF_KIND, TAG})

#: Runs that are laid together, before they leave the processor's cache.
_MANY = 1_000


class MeasuredKind(Struct, array_like=True):
    """Runs of one kind."""

    facts: Facts
    measured: Measured


class MeasuredDays:
    """The form of these digests."""

    kind = "measured 1"

    def make(self, reader: Reader, time: Time) -> dict[int, Made[MeasuredKind]]:
        making = _Making()
        columns = [*COLUMNS, *kinds.COLUMNS, kinds.DAY]
        for runs, summed_up in runs_of_time(reader, time, columns, Synopsis, IS_KNOWN):
            making.add(runs, summed_up)
        return making.done()

    def encoded(self, entries: list[MeasuredKind]) -> bytes:
        return msgspec.msgpack.encode([(each.facts, each.measured.in_order()) for each in entries])

    def decoded(self, body: bytes) -> list[MeasuredKind]:
        return _decode(body)


_decode = msgspec.msgpack.Decoder(list[MeasuredKind]).decode


class _Making:
    """Digests of some days in the making."""

    def __init__(self) -> None:
        self._days: dict[int, dict[Facts, Measured]] = defaultdict(lambda: defaultdict(Measured))
        self._unsure: set[int] = set()
        self._waiting: dict[Facts, list[tuple[Facts, Synopsis]]] = defaultdict(list)
        self._runs = 0

    def add(self, runs: Runs[Synopsis], summed_up: list[int]) -> None:
        """Runs, and the places of those that are not as the writer left them. The last of their facts is the day."""
        first = len(COLUMNS)
        for facts, synopsis in zip(*runs, strict=True):
            self._waiting[facts[first:]].append((facts, synopsis))
        self._unsure.update(runs.facts[place][-1] for place in summed_up)
        self._runs += len(runs.synopses)
        if self._runs > _MANY:
            self._measure()

    def done(self) -> dict[int, Made[MeasuredKind]]:
        self._measure()
        return {day: self._made(day, found) for day, found in self._days.items()}

    def _measure(self) -> None:
        for (*facts, day), runs in self._waiting.items():
            self._days[day][tuple(facts)].add(*zip(*runs, strict=True))
        self._waiting.clear()
        self._runs = 0

    def _made(self, day: int, found: dict[Facts, Measured]) -> Made[MeasuredKind]:
        entries = [MeasuredKind(facts, measured) for facts, measured in found.items()]
        runs = sum(measured.counts.runs + measured.counts.unfinished for measured in found.values())
        return Made(entries, runs, is_sure=day not in self._unsure)
