"""Rows of synopses summed up, a column at a time.

A million rows are too many to look at one by one. So runs are laid together that have the same facts, parts and models, and
their rows by what they are of; then each column is summed up at once. Few kinds of runs make up most files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any

from tokentrace_core.analysis.dimensions import NO_TOOL, NONE, TOOL, UNKNOWN
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import Key, Spent
from tokentrace_core.analysis.synopses import Facts, Runs
from tokentrace_core.store.synopsis import CallSums, Costs, ToolShare

Rows = Sequence[CallSums | ToolShare]
Label = tuple[str, ...]
Value = Callable[[Costs, Any], str]

#: Runs that are laid together: few, that they do not leave the processor's cache, but some of each kind, if there are not too many.
_MANY, _EACH, _MOST = 500, 20, 5_000
#: The figures of a row: what comes before is what it is of.
_FIGURES = CallSums._fields.index("calls"), CallSums._fields.index("estimated_calls") + 1


class Adding:
    """Sums by facts of the run and dimensions of the call, of what a scope takes."""

    def __init__(
        self,
        names: Sequence[str],
        scope: Scope,
        keys: Callable[[Facts, Label], Iterable[Key]],
        *,
        by_tool: bool = False,
    ) -> None:
        """`names`: dimensions of the call. `keys`: the groups of what has these facts and these values."""
        self.found: dict[Key, Spent] = {}
        self.total = Spent()
        """Without its `runs`, which may be in several groups."""
        self.runs = 0
        """Those of which something was taken."""
        self._keys = keys
        self._by_tool = by_tool
        self._values = [VALUES[name] for name in names]
        self._wanted = [
            (VALUES[name], frozenset(scope.where[name])) for name in VALUES if name in scope.where
        ]
        fields = sorted({_FIELDS[name] for name in (*names, *scope.where) if name in _FIELDS})
        self._kind: Callable[[Any], Any] = itemgetter(
            *map(ToolShare._fields.index, fields) if fields else [slice(0)]
        )
        tables = [f"{field}s" for field in fields if field in ("part", "model")]
        self._tables: Callable[[Costs], Any] = attrgetter(*tables) if tables else _nothing
        self._waiting: dict[tuple[Facts, Any], tuple[Costs, list[Rows]]] = {}
        self._runs = 0

    def add(self, runs: Runs[Any]) -> None:
        waiting, tables = self._waiting, self._tables
        of_run = [synopsis.shares if self._by_tool else synopsis.calls for synopsis in runs.synopses]
        for facts, synopsis, rows in zip(*runs, of_run, strict=True):
            key = facts, tables(synopsis)
            alike = waiting.get(key)
            if not rows:
                continue
            if alike is None:
                waiting[key] = synopsis, [rows]
            else:
                alike[1].append(rows)
        self._runs += len(of_run)
        if self._runs > min(max(_MANY, _EACH * len(waiting)), _MOST):
            self._sum_up()

    def add_alike(self, facts: Facts, runs: int, costs: Costs) -> None:
        """So many runs of which each is in all the groups of these sums, which are theirs together."""
        groups = defaultdict(list)
        for row in costs.calls:
            groups[self._label(costs, row)].append(row)
        for label, rows in groups.items():
            self._put(facts, label, runs, rows)
        self.runs += runs if any(label is not None for label in groups) else 0

    def done(self) -> None:
        """Nothing more will be added: the sums are right from here on."""
        self._sum_up()

    def _sum_up(self) -> None:
        known: dict[Any, dict[Any, Label | None]] = defaultdict(dict)
        for (facts, tables), (synopsis, of_runs) in self._waiting.items():
            self._sum_up_alike(facts, synopsis, of_runs, known[tables])
        self._waiting.clear()
        self._runs = 0

    def _sum_up_alike(
        self, facts: Facts, synopsis: Costs, of_runs: list[Rows], labels: dict[Any, Label | None]
    ) -> None:
        """Rows of runs that have the same facts, parts and models: those of `synopsis`. `labels`: of these, so far."""
        rows = list(chain.from_iterable(of_runs))
        kinds = list(map(self._kind, rows))
        different = dict(zip(kinds, rows, strict=True))
        for kind, row in different.items():
            if kind not in labels:
                labels[kind] = self._label(synopsis, row)
        if len(different) == 1 or len({labels[kind] for kind in different}) == 1:
            label = labels[kinds[0]]
            self._put(facts, label, len(of_runs), rows)
            self.runs += 0 if label is None else len(of_runs)
            return
        groups = defaultdict(list)
        for kind, row in zip(kinds, rows, strict=True):
            groups[labels[kind]].append(row)
        of_each = [{labels[kind] for kind in map(self._kind, rows)} for rows in of_runs]
        runs = Counter(chain.from_iterable(of_each))
        for label, group in groups.items():
            self._put(facts, label, runs[label], group)
        self.runs += len(of_each) - of_each.count({None})

    def _put(self, facts: Facts, label: Label | None, runs: int, rows: Rows) -> None:
        if label is None:
            return
        sums = [runs, *map(sum, islice(zip(*rows, strict=True), *_FIGURES))]
        self.total.add(sums)
        for key in self._keys(facts, label):
            spent = self.found.get(key)
            if spent is None:
                self.found[key] = Spent(key, *sums)
            else:
                spent.add(sums)

    def _label(self, synopsis: Costs, row: Any) -> Label | None:
        """None: the scope does not take it."""
        if all(value(synopsis, row) in wanted for value, wanted in self._wanted):
            return tuple([value(synopsis, row) for value in self._values])
        return None


def _nothing(_: Costs) -> None:
    return None


def taking(scope: Scope) -> Callable[[Costs, Rows], Rows]:
    """Which groups of a synopsis a scope takes."""
    told = {name: frozenset(scope.where[name]) for name in VALUES if name in scope.where}
    if not told:
        return lambda _, groups: groups
    tests = [(VALUES[name], wanted) for name, wanted in told.items()]
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

VALUES: dict[str, Value] = {
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

#: The field of a row that tells them.
_FIELDS = {
    **dict.fromkeys(("agent", "step-name"), "part"),
    **dict.fromkeys(("provider", "model"), "model"),
    **dict.fromkeys(NAMED, "hour"),
    "status": "status",
    TOOL: "tool",
}
