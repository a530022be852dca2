"""What was spent, grouped: the answer to `tokentrace cost`.

Sums of synopses where these tell apart what is asked for, else of rows (`spending_rows`), and of the digests of days where
these do; all give the same. By tool, and
narrowed to one, a model call's figures are shared, to the nano-dollar, among the tools that were called in its step, and what
a tool cost itself is its own. By tag, a run counts for each of its tags.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from tokentrace_core.analysis import spending_rows
from tokentrace_core.analysis.adding import Adding
from tokentrace_core.analysis.days import told_by_days
from tokentrace_core.analysis.dimensions import OF_CALL, OF_RUN, OF_STEP, TAG, TIMES, TOOL, canonical_by
from tokentrace_core.analysis.expired import expired
from tokentrace_core.analysis.kinds import picked, tags_of, taken
from tokentrace_core.analysis.scope import Scope, Time
from tokentrace_core.analysis.spent import Key, Spending, Spent
from tokentrace_core.analysis.spent_days import GROUPS, SpentDays
from tokentrace_core.analysis.synopses import Facts, runs_touched
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import Costs, FullSynopsis

_TOLD = frozenset({*OF_RUN, *OF_STEP, *OF_CALL, *TIMES, TAG, TOOL})


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
        self._names = names
        self._of_run = of_run = [name for name in names if name in OF_RUN or name == TAG]
        of_call = [name for name in names if name not in of_run]
        self._columns = [OF_RUN.get(name, "r.tags") for name in of_run]
        self._tags = of_run.index(TAG) if TAG in of_run else None
        self._order = [[*of_run, *of_call].index(name) for name in names]
        by_tool = TOOL in names or TOOL in scope.where
        self._groups = Adding(of_call, scope, self._keys, by_tool=by_tool)
        # A call of two tools is in two groups, and once in the total.
        self._whole = (
            Adding([], scope, lambda *_: []) if by_tool and TOOL not in scope.where else self._groups
        )
        self._shape: type[Costs] = FullSynopsis if by_tool else Costs

    def of(self, reader: Reader) -> tuple[dict[Key, Spent], Spent]:
        both = {self._groups, self._whole}
        for begun in self._left_by_digests(reader):
            for runs in runs_touched(reader, self._scope, self._columns, self._shape, begun):
                for adding in both:
                    adding.add(runs)
        for adding in both:
            adding.done()
        self._whole.total.runs = self._whole.runs
        return self._groups.found, self._whole.total

    def _left_by_digests(self, reader: Reader) -> list[Time]:
        """When the runs began that are left to be read, when those of digests have been added."""
        if not (GROUPS.issuperset(self._names) and GROUPS.issuperset(self._scope.where)):
            return [Time(None, self._scope.until)]
        told = told_by_days(reader, self._scope, SpentDays(by_hour="hour" in self._names), by_start=False)
        takes, of_question = taken(self._scope.where), picked(self._of_run)
        for alike in told.entries:
            if takes(alike.facts):
                self._groups.add_alike(of_question(alike.facts), alike.runs, alike.costs)
        return told.rest

    def _keys(self, facts: Facts, of_call: tuple[str, ...]) -> list[Key]:
        """One, or one for each tag of the run."""
        found = []
        for of_run in self._tagged(facts):
            values = (*of_run, *of_call)
            found.append(tuple([values[place] for place in self._order]))
        return found

    def _tagged(self, facts: Facts) -> list[Facts]:
        place = self._tags
        if place is None:
            return [facts]
        return [(*facts[:place], tag, *facts[place + 1 :]) for tag in tags_of(facts[place])]
