"""What of a question is told by digests of days, and what is left to be read run by run.

A million runs are too many to be read for each question, and those of a day that is over hardly ever change. So what
they add up to is kept in the file (`store.digests`), made when it is first asked for. The days at the borders of a time, the
present one, and those of few runs are read as they are: an answer is the same with digests and without.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from tokentrace_core.analysis.scope import Scope, Time
from tokentrace_core.errors import StoreError
from tokentrace_core.store.digest_table import DAY_US
from tokentrace_core.store.digests import Claim, Digest, Digests
from tokentrace_core.store.reader import Reader

#: Runs from which on a file has digests, and a day of it has one: fewer are read as quickly.
_LARGE, _MANY = 20_000, 500
#: A digest has at most one entry for so many runs: else it says little less than they do.
_LEAST_ALIKE = 4

E = TypeVar("E")


class Made(NamedTuple, Generic[E]):
    """The digest of a day, as it was just made."""

    entries: list[E]
    runs: int
    """Of which it is made."""
    first: int | None = None
    last: int | None = None
    is_sure: bool = True
    """Nothing in it can change but by a change of the runs."""


class Form(Protocol[E]):
    """One kind of digest."""

    kind: str
    """With the number of the form of its bodies: who knows another one makes another kind."""

    def make(self, reader: Reader, time: Time) -> dict[int, Made[E]]:
        """Of the days in this time, which has whole ones."""

    def encoded(self, entries: list[E]) -> bytes: ...

    def decoded(self, body: bytes) -> list[E]:
        """Raises `msgspec.MsgspecError`, or ValueError, for what is none."""


class Told(NamedTuple, Generic[E]):
    """What digests tell of a question, and when the runs began that are left."""

    entries: Iterable[E]
    rest: list[Time]


def told_by_days(reader: Reader, scope: Scope, form: Form[E], *, by_start: bool) -> Told[E]:
    """`by_start`: the scope takes the runs that began in its time; else what was spent in it, whenever its run began."""
    rest = [Time(scope.since if by_start else None, scope.until)]
    if not _has_many(reader):
        return Told([], rest)
    days = _Days(reader, scope, form, by_start)
    found = days.found()
    empty = set() if by_start or scope.since is None else days.spent_before()
    return Told(
        (entry for entries in found.values() for entry in entries), _without(rest[0], {*found, *empty})
    )


def _has_many(reader: Reader) -> bool:
    if not reader.has_table("day_digests"):
        return False
    sql = f"select (select count(*) from (select 1 from main.runs limit {_LARGE})), exists (select 1 from main.runs where started_at is null)"
    [(runs, is_timeless)] = reader.execute(sql)
    return bool(runs == _LARGE and not is_timeless)


def _without(whole: Time, days: Iterable[int]) -> list[Time]:
    """What is left of a time without some days."""
    left, at = [], whole.since
    for day in sorted(days):
        if at is None or at < day * DAY_US:
            left.append(Time(at, day * DAY_US))
        at = (day + 1) * DAY_US
    if at is None or whole.until is None or at < whole.until:
        left.append(Time(at, whole.until))
    return left


class _Days(Generic[E]):
    """The days of one question."""

    def __init__(self, reader: Reader, scope: Scope, form: Form[E], by_start: bool) -> None:
        self._reader, self._scope, self._form, self._by_start = reader, scope, form, by_start
        self._digests = Digests(reader, form.kind)
        since, until = scope.since, scope.until
        [(begun,)] = reader.execute("select min(started_at) from main.runs")
        self._begin = begun // DAY_US if since is None else -(-since // DAY_US)
        """The first day that is whole in the scope, and the one after the last that is, and is over."""
        today = _today()
        self._end = today if until is None else min(until // DAY_US, today)

    def found(self) -> dict[int, list[E]]:
        """What the days are made of of which digests are in the file, or could be made."""
        known = self._digests.found(self._begin, self._end - 1)
        found: dict[int, list[E]] = {}
        for day, digest in known.items():
            if digest.body is not None and self._is_inside(digest):
                entries = self._decoded(digest.body)
                if entries is not None:
                    found[day] = entries
        made = self._make([day for day in self._with_many_runs() if day not in known])
        return found | {day: each.entries for day, each in made.items() if self._is_inside(each)}

    def spent_before(self) -> set[int]:
        """Days before the scope of which nothing was spent in it."""
        assert self._scope.since is not None
        return self._digests.spent_before(self._scope.since, self._begin - 1)

    def _is_inside(self, digest: Digest | Made[E]) -> bool:
        """Whether what was spent by the runs of the day was all spent in the scope."""
        first, last = digest.first, digest.last
        if self._by_start or first is None or last is None:
            return True
        since, until = self._scope.since, self._scope.until
        return (since is None or first >= since) and (until is None or last < until)

    def _decoded(self, body: bytes) -> list[E] | None:
        try:
            return self._form.decoded(body)
        except (msgspec.MsgspecError, ValueError, TypeError):
            return None

    def _with_many_runs(self) -> Iterator[int]:
        following = "select min(started_at) from main.runs where started_at >= ?"
        many = f"select count(*) from (select 1 from main.runs where started_at >= ? and started_at < ? limit {_MANY})"
        day = self._begin
        while True:
            [(begun,)] = self._reader.execute(following, [day * DAY_US])
            if begun is None or begun // DAY_US >= self._end:
                return
            day = begun // DAY_US
            [(runs,)] = self._reader.execute(many, [day * DAY_US, (day + 1) * DAY_US])
            if runs == _MANY:
                yield day
            day += 1

    # ── digests that there are not yet ───────────────────────────────────────────────────────────────

    def _make(self, days: list[int]) -> dict[int, Made[E]]:
        claim = self._digests.claim(days) if days else None
        if claim is None:
            return {}
        running, made = claim.running(), {}
        with Reader(self._reader.path) as reader:  # which sees the file as it was claimed, or later
            for span in _spans(day for day in days if day not in running):
                made.update(self._made(reader, span))
        self._keep(claim, days, made)
        return made

    def _made(self, reader: Reader, span: Time) -> dict[int, Made[E]]:
        try:
            return self._form.make(reader, span)
        except (StoreError, sqlite3.Error):  # a name that is no text: not all questions ask for it
            return {}

    def _keep(self, claim: Claim, days: Iterable[int], made: dict[int, Made[E]]) -> None:
        nothing = Digest(None)
        claim.keep({day: self._kept(made[day]) if day in made else nothing for day in days})

    def _kept(self, made: Made[E]) -> Digest:
        if not made.is_sure or len(made.entries) * _LEAST_ALIKE > made.runs:
            return Digest(None)
        try:
            return Digest(self._form.encoded(made.entries), made.first, made.last)
        except (OverflowError, TypeError):  # no number, or one that no column can hold
            return Digest(None)


def _spans(days: Iterable[int]) -> Iterator[Time]:
    """Days in a row as one time."""
    for _, some in groupby(enumerate(sorted(days)), lambda placed: placed[1] - placed[0]):
        row = [day for _, day in some]
        yield Time(row[0] * DAY_US, (row[-1] + 1) * DAY_US)


def _today() -> int:
    return time.time_ns() // 1_000 // DAY_US
