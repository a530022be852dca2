"""What is read of a period: a handful of sums per piece of work, made by SQLite and not call by call.

A period's runs are those that began in it, each with all its calls, whenever they were made. So no run is in two periods that
follow each other, and "calls per run" means whole runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tokentrace_core.analysis.scope import Scope, Selection
from tokentrace_core.analysis.why.effects import COUNTERS
from tokentrace_core.store.reader import Reader, Row

#: Stands for names that are put together.
OTHERS = "(others)"
#: No agent's loop is told apart further than this.
_LAST_POSITION = 200
#: More different names of runs are not read. Some programs put ids into names.
_MOST_NAMES = 1_000
#: More different pieces of work are read with less detail.
_MOST_WORK = 20_000

Kind = tuple[str, bool]
"""Name and task type of a run as one text, and whether it is the heavy user's."""


class Work(NamedTuple):
    """Calls of one model at one place, in sums."""

    kind: str
    heavy: bool
    """By the user whose runs are told apart."""
    agent: str | None
    step: str | None
    position: int
    """In the agent's loop, from 1; 0: in no step."""
    model: str
    provider: str | None
    answered: str | None
    version: str | None
    """Which price made the cost."""
    priced: bool
    calls: int
    tokens: tuple[int, ...]
    """As `COUNTERS`."""
    reasoning: int
    cost: int
    estimated: int
    """The part of the cost that rests on estimated usage."""
    at: int
    """When they were made, in the mean."""


class Tool(NamedTuple):
    """Calls of one tool by one agent."""

    name: str
    kind: str
    agent: str | None
    calls: int
    failures: int
    result_bytes: int
    cost: int


@dataclass(frozen=True)
class Period:
    """One side of the comparison, in figures."""

    name: str
    scope: Scope
    users: dict[str, tuple[int, int]] = field(default_factory=dict)
    """User -> runs and nano-dollars, by the runs' own totals; "" for nobody."""
    kinds: dict[Kind, int] = field(default_factory=dict)
    """How many runs there were of each kind."""
    work: tuple[Work, ...] = ()
    tools: tuple[Tool, ...] = ()

    @property
    def runs(self) -> int:
        return sum(runs for runs, _ in self.users.values())

    @property
    def cost(self) -> int:
        """In nano-dollars: of all model calls that have a price, and of tools."""
        return sum(each.cost for each in self.work) + self.tool_cost

    @property
    def tool_cost(self) -> int:
        return sum(each.cost for each in self.tools)

    @property
    def days(self) -> float | None:
        """How long it is; None if it has no beginning or no end."""
        since, until = self.scope.since, self.scope.until
        return None if since is None or until is None else (until - since) / 86_400_000_000


Both = tuple[Period, Period]


def runs_of(reader: Reader, scope: Scope) -> Selection:
    """The runs of the scope whose calls are there: of others retention has left the summary."""
    runs = scope.runs()
    if "expired" not in reader.columns("runs"):  # a file of an earlier version
        return runs
    return runs._replace(condition=f"{runs.condition} and r.expired is not 'trace'")


def calls_of(scope: Scope) -> Selection:
    """The model calls of the runs that began in the time of the scope."""
    return _by_run(scope, Scope(where=scope.where).calls())


def tools_of(scope: Scope) -> Selection:
    """The same of tool calls."""
    return _by_run(scope, Scope(where=scope.where).tools())


def with_users(reader: Reader, period: Period) -> Period:
    """Who ran how much, and what that cost."""
    sql = runs_of(reader, period.scope).select(
        "coalesce(r.user_id, '') as user, count(*) as runs, sum(coalesce(r.cost_nano_usd, 0)) as cost",
        "group by 1",
    )
    return replace(period, users={row["user"]: (row["runs"], row["cost"]) for row in reader.query(*sql)})


def read_kinds(reader: Reader, period: Period, heavy: str | None) -> dict[Kind, int]:
    """How many runs there are of each kind, the most frequent ones."""
    sql, parameters = runs_of(reader, period.scope).select(
        f"{KIND} as kind, {_HEAVY} as heavy, count(*) as runs",
        f"group by 1, 2 order by runs desc, kind limit {_MOST_NAMES}",
    )
    rows = reader.query(sql, parameters | {"heavy": heavy})
    return {(row["kind"], bool(row["heavy"])): row["runs"] for row in rows}


def with_kinds(period: Period, counted: dict[Kind, int], kept: Collection[str], heavy: str | None) -> Period:
    """Runs by kind, where only some names are kept."""
    kinds: dict[Kind, int] = {(OTHERS, of_heavy): 0 for of_heavy in (False, True)}
    kinds |= {kind: runs for kind, runs in counted.items() if kind[0] in kept}
    heavy_runs = period.users.get(heavy or "", (0, 0))[0] if heavy else 0
    for of_heavy, runs in ((True, heavy_runs), (False, period.runs - heavy_runs)):
        kinds[OTHERS, of_heavy] = runs - sum(count for kind, count in kinds.items() if kind[1] == of_heavy)
    return replace(period, kinds=kinds)


def read_work(reader: Reader, periods: Both, kept: Collection[str], heavy: str | None) -> Both:
    """Both, at the same time: SQLite works on each in a thread of its own, on a connection of its own."""
    for steps in _DETAIL:
        parameters = {"heavy": heavy, "kinds": json.dumps(list(kept))}

        def read(period: Period, steps: str = steps, parameters: dict[str, Any] = parameters) -> Period:
            with Reader(reader.path) as own:
                return _read(own, period, steps, parameters)

        with ThreadPoolExecutor(2, thread_name_prefix="tokentrace-why") as threads:
            before, after = threads.map(read, periods)
        if max(len(before.work), len(after.work)) < _MOST_WORK:
            break
    return before, after


def _read(reader: Reader, period: Period, steps: str, parameters: dict[str, Any]) -> Period:
    def ask(selection: Selection, columns: str, rest: str, made: Callable[[Row], Any]) -> tuple[Any, ...]:
        sql, own = selection.select(columns, rest)
        used = {name: value for name, value in parameters.items() if f":{name}" in sql}
        return tuple(map(made, reader.query(sql, own | used)))

    limit = "" if steps == _DETAIL[-1] else f" limit {_MOST_WORK}"
    return replace(
        period,
        work=ask(
            calls_of(period.scope),
            f"{_NAMED_KIND} as kind, {_HEAVY} as heavy, {steps}, {_WORK}",
            f"and {_USED} group by 1, 2, 3, 4, 5, 6, 7, 8{limit}",
            _work,
        ),
        tools=ask(tools_of(period.scope), _TOOLS, "group by 1, 2, 3", _tool),
    )


def _by_run(scope: Scope, rows: Selection) -> Selection:
    # A bound in any case: SQLite then begins with the runs, and not with all calls of the file.
    conditions, parameters = [rows.condition, "r.started_at >= :run_since"], dict(rows.parameters)
    parameters["run_since"] = scope.since or 0
    if scope.until is not None:
        conditions.append("r.started_at < :run_until")
        parameters["run_until"] = scope.until
    return Selection(rows.source, " and ".join(conditions), parameters)


KIND = "(coalesce(r.name, '') || coalesce(' (' || r.task_type || ')', ''))"
_NAMED_KIND = f"case when {KIND} in (select value from json_each(:kinds)) then {KIND} else '{OTHERS}' end"
_HEAVY = "coalesce(r.user_id = :heavy, 0)"
#: Calls that a provider answered: neither those that never reached it, nor those that a local cache answered.
_USED = "(c.input_uncached_tokens is not null or c.cost_nano_usd > 0) and c.cost_status != 'cached'"
#: How closely steps are told apart: as long as that is not too many.
_DETAIL = (
    "s.agent as agent, s.name as step",
    f"s.agent as agent, '{OTHERS}' as step",
    f"'{OTHERS}' as agent, '{OTHERS}' as step",
)
_WORK = f"""min(coalesce(s.agent_step, 0), {_LAST_POSITION}) as position,
    coalesce(c.model, c.model_answered, '(unknown)') as model, c.price_version as version,
    c.cost_nano_usd is not null as priced,
    max(c.provider) as provider, max(c.model_answered) as answered, count(*) as calls,
    {", ".join(f"coalesce(sum(c.{counter}), 0) as {counter}" for counter in COUNTERS)},
    coalesce(sum(c.reasoning_tokens), 0) as reasoning, coalesce(sum(c.cost_nano_usd), 0) as cost,
    coalesce(sum(case when c.usage_source = 'estimated' then c.cost_nano_usd end), 0) as estimated,
    cast(avg(c.started_at) as integer) as at"""
_TOOLS = """t.name, t.kind, s.agent, count(*) as calls, sum(t.status in ('failure', 'timeout')) as failures,
    coalesce(sum(t.result_bytes), 0) as result_bytes, coalesce(sum(t.cost_nano_usd), 0) as cost"""


def _work(row: Row) -> Work:
    facts: dict[str, Any] = {**row, "heavy": bool(row["heavy"]), "priced": bool(row["priced"])}
    return Work(tokens=tuple(facts.pop(counter) for counter in COUNTERS), **facts)


def _tool(row: Row) -> Tool:
    return Tool(**row)
