"""Runs with more than one writer: what each process did is a part, and the run's row says what all rows make.

The process that began a run writes its row as it knows it. Nobody knows all of it: so whenever a batch has touched a
run that has parts, its totals and the numbers of its steps are made anew from its rows, in the same transaction. That
holds in any order, also when a batch is written twice. A run of which a file has only parts has a row, too
(`begun_elsewhere`), so that every report finds it; it stands as its parts do, until the first process's row comes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from tokentrace_core.joined_runs import SoFar
from tokentrace_core.spans import Run, RunPart
from tokentrace_core.store.lease import Lease, as_stored, close_what_is_left

_STAND_IN = """
    insert into runs (id, session_id, user_id, project, environment, name, waiting_ms, status, started_at, begun_elsewhere)
    values (?, ?, ?, ?, ?, ?, 0, 'running', ?, 1) on conflict (id) do nothing
"""
_SESSION = "insert or ignore into sessions (id, user_id, project, started_at) values (?, ?, ?, ?)"
#: It runs as long as one of its parts does; then it stands as the last of them.
_AS_ITS_PARTS = """
    update runs set (status, error_type, error, ended_at, user_id) = (
        select p.status, p.error_type, p.error, p.ended_at, coalesce(p.user_id, runs.user_id) from run_parts p
        where p.run_id = runs.id order by p.ended_at is not null, p.ended_at desc limit 1
    ), writer_id = (
        select p.writer_id from run_parts p where p.run_id = runs.id order by p.ended_at is not null, p.ended_at desc limit 1
    )
    where id = ? and begun_elsewhere
"""
_NUMBERS = """
    update steps set number = placed.number
    from (select id, row_number() over (order by started_at, id) as number from steps where run_id = :run) placed
    where steps.run_id = :run and steps.id = placed.id and steps.number is not placed.number
"""
_TOKENS = " + ".join(
    f"coalesce({name}, 0)"
    for name in (
        "input_uncached_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
    )
)
#: What the whole run had cost when a step ended: everything that had ended by then.
_RUNNING_TOTALS = f"""
    with heard as (
        select null as id, 0 as of_step, ended_at as at, coalesce(cost_nano_usd, 0) as nano, {_TOKENS} as tokens
        from llm_calls where run_id = :run and ended_at is not null and status != 'refused'
        union all select null, 0, ended_at, coalesce(cost_nano_usd, 0), 0
        from tool_calls where run_id = :run and ended_at is not null
        union all select id, 1, ended_at, 0, 0 from steps where run_id = :run and ended_at is not null
    ), sums as (
        select id, sum(nano) over so_far as nano, sum(tokens) over so_far as tokens from heard
        window so_far as (order by at, of_step rows unbounded preceding)
    )
    update steps set cumulative_cost_nano_usd = sums.nano, cumulative_tokens = sums.tokens from sums
    where steps.run_id = :run and steps.id = sums.id
    and (cumulative_cost_nano_usd is not sums.nano or cumulative_tokens is not sums.tokens)
"""


def take_in(connection: sqlite3.Connection, batch: Iterable[object], lease: Lease) -> None:
    """After a batch: bring the runs in it that have parts up to date."""
    spans = [span for span in batch if getattr(span, "run_id", None)]
    for span in spans:
        if isinstance(span, RunPart):
            _stand_in(connection, span)
            lease.note_part(connection, span)
    touched = {span.run_id for span in spans}  # type: ignore[attr-defined]
    shared = with_parts(connection, touched)
    begun_here = [(span.id,) for span in spans if isinstance(span, Run) and span.id in shared]
    connection.executemany("update runs set begun_elsewhere = null where id = ?", begun_here)
    for run_id in shared:
        reckon(connection, run_id)


def reckon(connection: sqlite3.Connection, run_id: str) -> None:
    """Make a run's totals, and its steps' places, what its rows say."""
    totals = ", ".join(f"{name} = {sql}" for name, sql in as_stored(":run").items())
    # Of a run whose calls retention has taken away, the totals are all that is left.
    kept = "coalesce(expired, '') != 'trace'"
    connection.execute(f"update runs set {totals} where id = :run and {kept}", {"run": run_id})
    connection.execute(_NUMBERS, {"run": run_id})
    connection.execute(_RUNNING_TOTALS, {"run": run_id})
    connection.execute(_AS_ITS_PARTS, [run_id])
    close_what_is_left(connection, run_id)


def with_parts(connection: sqlite3.Connection, run_ids: Iterable[str]) -> list[str]:
    """Those of these runs that other processes take part in."""
    asked = "select distinct run_id from run_parts where run_id in (select value from json_each(?))"
    return [run_id for (run_id,) in connection.execute(asked, [json.dumps(sorted(run_ids))])]


def _stand_in(connection: sqlite3.Connection, part: RunPart) -> None:
    """A row for the run, unless it has one."""
    run = [part.run_id, part.session_id, part.user_id, part.project, part.environment, part.name]
    if connection.execute(_STAND_IN, [*run, part.started_at]).rowcount:
        connection.execute(_SESSION, [part.session_id, part.user_id, part.project, part.started_at])


def run_so_far(connection: sqlite3.Connection, run_id: str) -> SoFar | None:
    """What the file says of a run, if the process that began it writes to this file, too."""
    row = connection.execute(
        "select user_id, cost_nano_usd, input_tokens + output_tokens from runs where id = ? and begun_elsewhere is null",
        [run_id],
    ).fetchone()
    return None if row is None else SoFar(row[0], row[1] or 0, row[2] or 0)
