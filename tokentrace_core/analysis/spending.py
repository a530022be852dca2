"""What was spent, grouped: the answer to `tokentrace cost`.

Sums of synopses where these tell apart what is asked for, else of rows (`spending_rows`); both give the same. By tool, and
narrowed to one, a model call's figures are shared, to the nano-dollar, among the tools that were called in its step, and what
a tool cost itself is its own. By tag, a run counts for each of its tags.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from tokentrace_core.analysis import spending_rows
from tokentrace_core.analysis.dimensions import (
    NO_TOOL,
    NONE,
    OF_CALL,
    OF_RUN,
    OF_STEP,
    TAG,
    TIMES,
    TOOL,
    UNKNOWN,
    canonical_by,
)
from tokentrace_core.analysis.expired import expired
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import Key, Spending, Spent
from tokentrace_core.analysis.synopses import Facts, runs_touched
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import CallSums, Costs, FullSynopsis

_TOLD = frozenset({*OF_RUN, *OF_STEP, *OF_CALL, *TIMES, TAG, TOOL})
Value = Callable[[Costs, Any], Any]


def spending(reader: Reader, by: Sequence[str] = (), scope: Scope | None = None) -> Spending:
    """What was spent in a scope. `by`: dimensions, "hour", "day", "week", or "step". Raises ValueError for others."""
    scope = scope or Scope()
    names = tuple(dict.fromkeys(map(canonical_by, by)))
    told = _TOLD.issuperset(names) and _TOLD.issuperset(scope.where) and len(scope.where.get(TOOL, "1")) == 1
    found, total = (_Summing(names, scope) if told else spending_rows.Summing(names, scope)).of(reader)
    if not names:
        found = {(): replace(total)} if total.runs else {}
    for gone in expired(reader, names, scope):
        whole = found.setdefault(gone.key, Spent(gone.key))
        for sums in (whole, total):
            sums.join(gone)
    rows = sorted(found.values(), key=lambda spent: (-spent.cost_nano_usd, *map(str, spent.key)))
    return Spending(names, rows, total)


class _Summing:
    """Sums of synopses."""

    def __init__(self, names: tuple[str, ...], scope: Scope) -> None:
        self._scope = scope
        of_run = [name for name in names if name in OF_RUN or name == TAG]
        of_call = [name for name in names if name not in of_run]
        self._columns = [OF_RUN.get(name, "r.tags") for name in of_run]
        self._tags = of_run.index(TAG) if TAG in of_run else None
        self._values = [_VALUES[name] for name in of_call]
        self._order = [[*of_run, *of_call].index(name) for name in names]
        self._by_tool = TOOL in names or TOOL in scope.where
        self._counts_twice = TAG in names or TOOL in names
        """A run of two tags, or a call of two tools, is in two groups, and once in the total."""
        self._found: dict[Key, Spent] = {}
        self._total = Spent()

    def of(self, reader: Reader) -> tuple[dict[Key, Spent], Spent]:
        takes = taking(self._scope)
        shape: type[Costs] = FullSynopsis if self._by_tool else Costs
        for facts, synopsis in runs_touched(reader, self._scope, self._columns, shape):
            groups = takes(synopsis, self._groups(synopsis))
            self._total.runs += bool(groups)
            for of_run in self._keys(facts):
                self._add(of_run, synopsis, groups)
            if self._counts_twice:
                for sums in groups if TOOL in self._scope.where else takes(synopsis, synopsis.calls):
                    self._total.add(sums)
        if not self._counts_twice:
            runs = self._total.runs
            for spent in self._found.values():
                self._total.join(spent)
            self._total.runs = runs
        for spent in self._found.values():
            spent.key = tuple(spent.key[place] for place in self._order)
        return {spent.key: spent for spent in self._found.values()}, self._total

    def _groups(self, synopsis: Any) -> Sequence[CallSums]:
        return synopsis.shares if self._by_tool else synopsis.calls  # type: ignore[no-any-return]

    def _keys(self, facts: Facts) -> list[Facts]:
        """The run's part of the keys: one, or one for each of its tags."""
        place = self._tags
        if place is None:
            return [facts]
        tags = dict.fromkeys(json.loads(facts[place] or "[]")) or [NONE]
        return [(*facts[:place], tag, *facts[place + 1 :]) for tag in tags]

    def _add(self, of_run: Facts, synopsis: Costs, groups: Sequence[CallSums]) -> None:
        found, values = self._found, self._values
        counted: set[Key] = set()
        for sums in groups:  # of all that is done here, this is done most often
            key = of_run
            for value in values:
                key += (value(synopsis, sums),)
            spent = found.get(key)
            if spent is None:
                spent = found[key] = Spent(key)
            spent.add(sums)
            if key not in counted:
                counted.add(key)
                spent.runs += 1


def taking(scope: Scope) -> Callable[[Costs, Sequence[CallSums]], Sequence[CallSums]]:
    """Which groups of a synopsis a scope takes."""
    told = {name: frozenset(scope.where[name]) for name in _VALUES if name in scope.where}
    if not told:
        return lambda _, groups: groups
    tests = [(_VALUES[name], wanted) for name, wanted in told.items()]
    return lambda synopsis, groups: [
        sums for sums in groups if all(value(synopsis, sums) in wanted for value, wanted in tests)
    ]


@lru_cache(10_000)
def _hour(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3_600, UTC).strftime("%Y-%m-%d %H:00")


@lru_cache(10_000)
def _day(hour: int) -> str:
    return _hour(hour)[:10]


@lru_cache(10_000)
def _week(hour: int) -> str:
    moment = datetime.fromtimestamp(hour * 3_600, UTC)
    return (moment - timedelta(days=moment.weekday())).strftime("%Y-%m-%d")


#: Hours since the epoch as people read them.
NAMED: dict[str, Callable[[int], str]] = {"hour": _hour, "day": _day, "week": _week}

_VALUES: dict[str, Value] = {
    "agent": lambda synopsis, sums: synopsis.parts[sums.part][0] or NONE,
    "step-name": lambda synopsis, sums: synopsis.parts[sums.part][1] or NONE,
    "provider": lambda synopsis, sums: synopsis.models[sums.model][0] or UNKNOWN,
    "model": lambda synopsis, sums: synopsis.models[sums.model][1] or UNKNOWN,
    "status": lambda synopsis, sums: sums.status,
    "hour": lambda synopsis, sums: _hour(sums.hour),
    "day": lambda synopsis, sums: _day(sums.hour),
    "week": lambda synopsis, sums: _week(sums.hour),
    TOOL: lambda synopsis, sums: sums.tool or NO_TOOL,
}
