"""The questions that a bill raises: who, which tools, what a success costs, and what was spent for nothing.

(When it was spent is `spending` by hour, day or week.) Users are asked about by when calls were made, runs by when they began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from msgspec import Struct

from tokentrace_core.analysis.adding import taking
from tokentrace_core.analysis.days import told_by_days
from tokentrace_core.analysis.dimensions import NONE, OF_RUN, TAG
from tokentrace_core.analysis.kinds import picked, taken
from tokentrace_core.analysis.measured import Measured
from tokentrace_core.analysis.measured_days import GROUPS, MeasuredDays
from tokentrace_core.analysis.scope import Scope, Time
from tokentrace_core.analysis.spending import spending
from tokentrace_core.analysis.spent import Spent
from tokentrace_core.analysis.synopses import Facts, only_in, runs_begun
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import Costs, Synopsis

#: The dearest tenth of users, and of runs.
DECILE = 10
#: How a run ends for nothing. Who cancels has changed their mind, and is named by itself.
FAILED = ("failure", "timeout", "interrupted")
UNFINISHED = ("running", "waiting")


class User(Struct):
    """One user's spending."""

    spent: Spent
    days: int
    """Days (UTC) on which something was spent."""
    dearest_day: str
    dearest_day_nano_usd: int


class TopUsers(Struct):
    """The dearest tenth of the users (at least one)."""

    users: list[User]
    of: int
    """How many users there are. What was spent for nobody is nobody's."""
    top: Spent
    total: Spent
    """All spending, also for nobody."""


def top_users(reader: Reader, scope: Scope | None = None) -> TopUsers:
    """Users in the top decile of cost."""
    days: dict[str, dict[str, int]] = defaultdict(dict)
    for row in spending(reader, ["user", "day"], scope).rows:
        days[row.key[0]][row.key[1]] = row.cost_nano_usd
    found = spending(reader, ["user"], scope)
    named = [row for row in found.rows if row.key[0] != NONE]
    dearest = named[: -(-len(named) // DECILE)]
    top = Spent()
    for row in dearest:
        top.join(row)
    users = [
        User(row, len(of_user), day, of_user[day])
        for row in dearest
        if (of_user := days[row.key[0]]) and (day := max(of_user, key=lambda day: (of_user[day], day)))
    ]
    return TopUsers(users, len(named), top, found.total)


class DrivingTool(Struct):
    """One tool in the dearest runs, and in the others."""

    name: str
    led_nano_usd: int = 0
    """What the steps cost, in the dearest runs, that came after its calls: an agent's next step reads the result."""
    led_steps: int = 0
    calls: int = 0
    runs: int = 0
    """Of the dearest runs, those that called it."""
    other_calls: int = 0
    other_runs: int = 0


class DrivingTools(Struct):
    """What drives the dearest tenth of the runs (at least one). The tool whose calls led to the dearest steps first."""

    tools: list[DrivingTool]
    runs: int = 0
    steps: int = 0
    cost_nano_usd: int = 0
    other_runs: int = 0
    other_steps: int = 0
    other_cost_nano_usd: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0


def driving_tools(reader: Reader, scope: Scope | None = None) -> DrivingTools:
    """Tools that drive the most expensive runs by triggering further steps."""
    scope = scope or Scope()
    costs = [
        (-sum(sums.nano for sums in synopsis.calls), run_id)
        for (run_id,), synopsis in _begun(reader, scope, ["r.id"], Costs)
    ]
    costs.sort()
    dearest = {run_id for _, run_id in costs[: -(-len(costs) // DECILE)]}
    answer = DrivingTools([])
    found: dict[str, DrivingTool] = {}
    for (run_id,), synopsis in _begun(reader, scope, ["r.id"], Synopsis):
        _count(found, synopsis, is_dear=run_id in dearest)
        _sum_up(answer, synopsis, is_dear=run_id in dearest)
    answer.tools = sorted(found.values(), key=lambda tool: (-tool.led_nano_usd, -tool.calls, tool.name))
    return answer


def _sum_up(answer: DrivingTools, synopsis: Synopsis, *, is_dear: bool) -> None:
    nano, steps = sum(sums.nano for sums in synopsis.calls), len(synopsis.steps.nano)
    if is_dear:
        answer.runs += 1
        answer.steps += steps
        answer.cost_nano_usd += nano
    else:
        answer.other_runs += 1
        answer.other_steps += steps
        answer.other_cost_nano_usd += nano
    answer.unpriced_calls += sum(sums.unpriced_calls for sums in synopsis.calls)
    answer.estimated_calls += sum(sums.estimated_calls for sums in synopsis.calls)


def _count(found: dict[str, DrivingTool], synopsis: Synopsis, *, is_dear: bool) -> None:
    for name in {sums.name for sums in synopsis.tools}:
        tool = found.setdefault(name, DrivingTool(name))
        tool.runs += is_dear
        tool.other_runs += not is_dear
    for sums in synopsis.tools:
        tool = found[sums.name]
        if is_dear:
            tool.calls += sums.calls
            tool.led_steps += sums.led_steps
            tool.led_nano_usd += sums.led_nano
        else:
            tool.other_calls += sums.calls


class Outcome(Struct):
    """Runs that belong together, and what became of them."""

    name: str
    runs: int = 0
    """Those that are over."""
    successes: int = 0
    unfinished: int = 0
    """Those that run or wait; in none of the figures."""
    cost_nano_usd: int = 0
    """Of all that are over."""
    success_nano_usd: int = 0
    """Of those that succeeded."""
    unpriced_calls: int = 0
    estimated_calls: int = 0

    @property
    def per_success_nano_usd(self) -> float | None:
        """What one success costs: the failures are paid for, too. None without one."""
        return self.cost_nano_usd / self.successes if self.successes else None


def cost_of_success(reader: Reader, scopes: Sequence[tuple[str, Scope]]) -> list[Outcome]:
    """Of each scope, under its name: before and after a change, one version and the next, week by week."""
    return [_outcome(reader, name, scope) for name, scope in scopes]


def _outcome(reader: Reader, name: str, scope: Scope) -> Outcome:
    outcome, rest = Outcome(name), [Time(scope.since, scope.until)]
    if GROUPS.issuperset(scope.where):
        told, takes = told_by_days(reader, scope, MeasuredDays(), by_start=True), taken(scope.where)
        rest, status_of = told.rest, picked(["run-status"])
        for of_kind in told.entries:
            if takes(of_kind.facts):
                [status] = status_of(of_kind.facts)
                _add_kind(outcome, status, of_kind.measured)
    for begun in rest:
        begun_then = replace(scope, since=begun.since, until=begun.until)
        for (status,), synopsis in _begun(reader, begun_then, ["r.status"], Costs):
            _add_run(outcome, status, synopsis)
    return outcome


def _add_run(outcome: Outcome, status: str, synopsis: Costs) -> None:
    if status in UNFINISHED:
        outcome.unfinished += 1
        return
    nano = sum(sums.nano for sums in synopsis.calls)
    outcome.runs += 1
    outcome.cost_nano_usd += nano
    if status == "success":
        outcome.successes += 1
        outcome.success_nano_usd += nano
    outcome.unpriced_calls += sum(sums.unpriced_calls for sums in synopsis.calls)
    outcome.estimated_calls += sum(sums.estimated_calls for sums in synopsis.calls)


def _add_kind(outcome: Outcome, status: str, runs: Measured) -> None:
    """Of runs that ended alike."""
    counts, nano = runs.counts, runs.costs.total
    outcome.runs += counts.runs
    outcome.unfinished += counts.unfinished
    outcome.successes += counts.successes
    outcome.cost_nano_usd += nano
    outcome.success_nano_usd += nano if status == "success" else 0
    outcome.unpriced_calls += counts.unpriced_calls
    outcome.estimated_calls += counts.estimated_calls


class Wasted(Struct):
    """Spending by how runs ended. Each row's key: status and error type of the run."""

    failed: Spent
    cancelled: Spent
    unfinished: Spent
    reasons: list[Spent]
    """Why runs failed, dearest first."""
    total: Spent


def spent_on_failures(reader: Reader, scope: Scope | None = None) -> Wasted:
    """The share of spending that went into runs that failed."""
    found = spending(reader, ["run-status", "error-type"], scope)
    failed, cancelled, unfinished = Spent(), Spent(), Spent()
    reasons = []
    for row in found.rows:
        into = {
            **dict.fromkeys(FAILED, failed),
            **dict.fromkeys(UNFINISHED, unfinished),
            "cancelled": cancelled,
        }
        if (sums := into.get(row.key[0])) is not None:
            sums.join(row)
        if row.key[0] in FAILED:
            reasons.append(row)
    return Wasted(failed, cancelled, unfinished, reasons, found.total)


def _begun(
    reader: Reader, scope: Scope, columns: Sequence[str], shape: type[Any]
) -> Iterator[tuple[Facts, Any]]:
    """Runs that began in the time, with the calls that the scope takes; those of which it takes none are left out."""
    takes, narrows = taking(scope), any(name not in (*OF_RUN, TAG) for name in scope.where)
    for runs in runs_begun(reader, scope, columns, shape, only_in(reader, scope)):
        for facts, synopsis in zip(*runs, strict=True):
            synopsis.calls = takes(synopsis, synopsis.calls)
            if synopsis.calls or not narrows:
                yield facts, synopsis
