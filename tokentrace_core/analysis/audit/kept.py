"""What a day that is over tells is kept in the file (`store.digests`), so that it is looked at once, and not in each audit.

It is gone as soon as a run of that day changes. Another version, or a price book that may charge anything else, keeps its own. Kept are
numbers, names of agents, tools and models, and ids of calls, but no text: that of a title is looked up when it is told.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from tokentrace_core import __version__
from tokentrace_core.analysis.audit.days import Packed, Told, unpacked
from tokentrace_core.analysis.audit.looks import Case
from tokentrace_core.analysis.audit.trace import Day
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.digests import Claim, Digest, Digests

#: Another one whenever a look tells anything else of the same runs.
_EDITION = 1
_OURS = f"audit {__version__}-{_EDITION}"


class Kept:
    """The days that one audit finds in the file, and leaves there for the next."""

    def __init__(self, case: Case, days: Sequence[Day]) -> None:
        trace, prices = case.trace, case.account.rates.prices
        self._scope = trace.scope
        # A book of somebody's own kind may charge by the weather.
        is_usual = (
            type(prices) is PriceBook and not trace.scope.where and trace.reader.has_table("day_digests")
        )
        self._days = [day for day in days if self._is_over(day)] if is_usual and trace.is_large else []
        self._digests = Digests(trace.reader, f"{_OURS} {prices.fingerprint()}")
        self._claim: Claim | None = None
        self._claimed: set[int] = set()

    def found(self) -> dict[int, Told]:
        """What days have told, by their number."""
        found: dict[int, Told] = {}
        if self._days:
            digests = self._digests.found(self._days[0].number, self._days[-1].number)
            wanted = {day.number for day in self._days}
            for number, digest in digests.items():
                told = _told(digest)
                if number in wanted and told is not None and self._is_inside(digest):
                    found[number] = told
        return found

    def claim(self, found: Mapping[int, Told]) -> None:
        """Before the days are looked at that are not among these."""
        missing = {day.number for day in self._days} - found.keys()
        self._claim = self._digests.claim(missing) if missing else None
        if self._claim is not None:
            self._claimed = missing - self._claim.running()

    def to_look_at(self, day: Day) -> Day:
        """The day, as a whole if what it tells is to be kept: the next scope may end later."""
        return day._replace(whole=day.number in self._claimed)

    def keep(self, made: Mapping[int, Packed]) -> set[int]:
        """What days have told that were looked at since. Those that told more than the scope has."""
        digests = {day: _digest(made[day]) for day in self._claimed}
        if self._claim is not None:
            self._claim.forget("audit *", but=f"{_OURS} *")
            self._claim.keep(digests)
        return {day for day, digest in digests.items() if not self._is_inside(digest)}

    def _is_over(self, day: Day) -> bool:
        """Whether it is in the scope as a whole, and nothing begins on it any more."""
        since, until = self._scope.since, self._scope.until
        over = min(until, _now()) if until is not None else _now()
        return (since is None or since <= day.begins) and day.ends <= over

    def _is_inside(self, digest: Digest) -> bool:
        """Whether its runs called nothing out of the scope."""
        since, until = self._scope.since, self._scope.until
        early = since is not None and digest.first is not None and digest.first < since
        late = until is not None and digest.last is not None and digest.last >= until
        return not (early or late)


def _told(digest: Digest) -> Told | None:
    try:
        return None if digest.body is None else unpacked(digest.body)
    except (zlib.error, msgspec.MsgspecError, TypeError):
        return None


def _digest(told: Packed) -> Digest:
    totals = unpacked(told)[0]
    return Digest(told if isinstance(told, bytes) else None, totals.first, totals.last)


def _now() -> int:
    return time.time_ns() // 1_000
