"""The tables and views of a trace file, as numbered migrations.

Five tables carry the trace (sessions, runs, steps, llm_calls, tool_calls), two carry the prompts as a prefix
tree (messages, prompts), one the evaluations (scores). Everything people read is a view over them, so that
`sqlite3`, Datasette and pandas see what our own reports see. Money is integer nano-dollars in tables and
dollars in views; times are integer microseconds in tables and ISO texts in views.

A migration that has been released is never changed; the next one is added below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from tokentrace_core.store.digest_table import DAY_DIGESTS
from tokentrace_core.store.keeping_tables import WHAT_IS_KEPT
from tokentrace_core.store.lease import as_stored, dead, last_event, left_by_parts

migrations = Migrations("tokentrace")

#: Columns of every span, in the order in which a reader wants them.
_SPAN = {
    "status": str,
    "error_type": str,
    "error": str,
    "started_at": int,
    "ended_at": int,
    "attributes": str,
}

_TABLES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "sessions": (
        {"id": str, "user_id": str, "project": str, "started_at": int, "metadata": str},
        ("id",),
    ),
    "runs": (
        {
            "id": str,
            "session_id": str,
            "user_id": str,
            "project": str,
            "framework": str,
            "name": str,
            "task_type": str,
            "agent_version": str,
            "environment": str,
            "tags": str,
            "input": str,
            "output": str,
            "waiting_ms": int,
            "steps": int,
            "llm_calls": int,
            "tool_calls": int,
            "refused_calls": int,
            "input_tokens": int,
            "cached_tokens": int,
            "output_tokens": int,
            "cost_nano_usd": int,
            "unpriced_calls": int,
            "unpriced_tokens": int,
            "estimated_calls": int,
            **_SPAN,
        },
        ("id",),
    ),
    "steps": (
        {
            "id": str,
            "run_id": str,
            "number": int,
            "agent": str,
            "agent_step": int,
            "parent_call_id": str,
            "name": str,
            "reasoning": str,
            "cumulative_cost_nano_usd": int,
            "cumulative_tokens": int,
            **_SPAN,
        },
        ("run_id", "id"),
    ),
    "llm_calls": (
        {
            "id": str,
            "run_id": str,
            "step_id": str,
            "kind": str,
            "provider": str,
            "model": str,
            "model_answered": str,
            "params": str,
            "input_uncached_tokens": int,
            "cache_read_tokens": int,
            "cache_write_5m_tokens": int,
            "cache_write_1h_tokens": int,
            "output_tokens": int,
            "reasoning_tokens": int,
            "usage_source": str,
            "cost_nano_usd": int,
            "cost_status": str,
            "price_version": str,
            "stop_reason": str,
            "response_id": str,
            "first_token_ms": float,
            "prompt_id": str,
            "tools_id": str,
            "output_id": str,
            **_SPAN,
        },
        ("run_id", "id"),
    ),
    "tool_calls": (
        {
            "id": str,
            "run_id": str,
            "step_id": str,
            "kind": str,
            "name": str,
            "tool_call_id": str,
            "arguments": str,
            "arguments_hash": str,
            "result": str,
            "result_bytes": int,
            "http_status": int,
            "cost_nano_usd": int,
            **_SPAN,
        },
        ("run_id", "id"),
    ),
    "messages": ({"id": str, "role": str, "body": str, "bytes": int}, ("id",)),
    "scores": (
        {
            "id": str,
            "run_id": str,
            "span_id": str,
            "name": str,
            "value": float,
            "comment": str,
            "created_at": int,
        },
        ("run_id", "id"),
    ),
}

_INDEXES = (
    ("runs", ("started_at",)),
    ("runs", ("session_id",)),
    ("llm_calls", ("started_at",)),
)

_INPUT_TOKENS = (
    "coalesce({0}input_uncached_tokens, 0) + coalesce({0}cache_read_tokens, 0)"
    " + coalesce({0}cache_write_5m_tokens, 0) + coalesce({0}cache_write_1h_tokens, 0)"
)


def _views(status: Callable[[str], str]) -> dict[str, str]:
    """SQL of each view. `status` gives that of a run's status, by the name of its row."""
    return {
        # One row per model call with all that a report groups by. Refused calls are not in it: nothing was sent.
        "calls": f"""
            select c.id, c.run_id, c.step_id, r.session_id, r.user_id, r.project, r.name as run_name,
                   {status("r")} as run_status, r.framework, r.task_type, r.agent_version, r.environment, s.agent, s.name as step_name,
                   s.number as step_number, c.kind, c.provider, coalesce(c.model, c.model_answered) as model,
                   c.model_answered, c.status, c.error_type, {_INPUT_TOKENS.format("c.")} as input_tokens,
                   coalesce(c.cache_read_tokens, 0) as cached_tokens,
                   coalesce(c.output_tokens, 0) as output_tokens,
                   coalesce(c.reasoning_tokens, 0) as reasoning_tokens, c.usage_source,
                   c.cost_nano_usd, c.cost_nano_usd / 1e9 as cost_usd, c.cost_status, c.stop_reason,
                   c.first_token_ms, (c.ended_at - c.started_at) / 1000.0 as latency_ms, c.started_at,
                   strftime('%Y-%m-%dT%H:%M:%SZ', c.started_at / 1000000, 'unixepoch') as started,
                   date(c.started_at / 1000000, 'unixepoch') as day
            from llm_calls c
            join runs r on r.id = c.run_id
            left join steps s on s.run_id = c.run_id and s.id = c.step_id
            where c.status != 'refused'
        """,
        # One row per run. The totals are brought up to date with every call, so a killed run has its own.
        "run_costs": f"""
            select id, name, framework, session_id, user_id, project, task_type, agent_version, environment,
                   {status("runs")} as status, error_type, strftime('%Y-%m-%dT%H:%M:%SZ', started_at / 1000000, 'unixepoch') as started,
                   date(started_at / 1000000, 'unixepoch') as day,
                   (ended_at - started_at) / 1000.0 - waiting_ms as duration_ms, waiting_ms,
                   steps, llm_calls, tool_calls, refused_calls, input_tokens, cached_tokens, output_tokens,
                   cost_nano_usd, cost_nano_usd / 1e9 as cost_usd, unpriced_calls, unpriced_tokens,
                   estimated_calls
            from runs
        """,
        "tool_usage": """
            select t.name, t.kind, count(*) as calls, sum(t.status = 'failure') as failures,
                   avg((t.ended_at - t.started_at) / 1000.0) as mean_ms, sum(t.result_bytes) as result_bytes,
                   count(distinct t.run_id) as runs
            from tool_calls t group by t.name, t.kind
        """,
    }


@migrations()
def m001_the_trace(db: Database) -> None:
    for name, (columns, key) in _TABLES.items():
        db.create_table(name, columns, pk=key[0] if len(key) == 1 else key)
    # Small rows that are looked up by their key only: without a rowid they take half the room.
    db.execute(
        "create table prompts (id text primary key, parent_id text, message_id text not null,"
        " depth integer not null) without rowid"
    )
    for table, columns_of_index in _INDEXES:
        db.table(table).create_index(columns_of_index)
    for name, sql in _views(lambda run: f"{run}.status").items():
        db.create_view(name, sql)


@migrations()
def m002_who_is_alive(db: Database) -> None:
    db.execute(
        "create table writers (id text primary key, pid integer, host text, started_at integer, beat_at integer,"
        " ended_at integer) without rowid"
    )
    db.execute(
        "create table losses (writer_id text, reason text, records integer, at integer,"
        " primary key (writer_id, reason)) without rowid"
    )
    db.table("runs").add_column("writer_id", str)
    db.execute("create index idx_runs_running on runs (writer_id) where status = 'running'")
    for name, sql in _views(lambda run: status_now("runs", run)).items():
        db.create_view(name, sql, replace=True)


@migrations()
def m003_shared_budgets(db: Database) -> None:
    db.execute("create table settings (name text primary key, value text) without rowid")
    db.execute("insert into settings values ('ledger_key', lower(hex(randomblob(32))))")
    db.execute(
        "create table budget_ledger (scope text, subject text, period text, limit_nano_usd integer,"
        " spent_nano_usd integer not null, primary key (scope, subject, period)) without rowid"
    )
    db.execute(
        "create table reservations (scope text, subject text, period text, id text, nano_usd integer not null,"
        " writer_id text, primary key (scope, subject, period, id)) without rowid"
    )
    db.execute("create index idx_reservations_id on reservations (id)")


@migrations()
def m004_what_else_is_charged(db: Database) -> None:
    # Sound has a price of its own in some thirty models, up to sixteen times that of text; searches in a hundred.
    for column in ("input_audio_tokens", "output_audio_tokens", "web_searches"):
        db.table("llm_calls").add_column(column, int)


@migrations()
def m005_prices_of_another_day(db: Database) -> None:
    db.execute(
        "create table repricings (id text primary key, at integer, as_of text, models text, calls integer,"
        " old_nano_usd integer, new_nano_usd integer) without rowid"
    )
    db.execute(
        "create table repriced_calls (repricing_id text, run_id text, id text, old_nano_usd integer, old_status text,"
        " old_version text, new_nano_usd integer, new_status text, new_version text,"
        " primary key (repricing_id, run_id, id)) without rowid"
    )


@migrations()
def m006_what_is_kept(db: Database) -> None:
    for statement in WHAT_IS_KEPT:
        db.execute(statement)


@migrations()
def m007_runs_on_half_a_page(db: Database) -> None:
    db.table("runs").add_column("synopsis", str)


@migrations()
def m008_what_an_audit_asks(db: Database) -> None:
    # Millionths of the reply that are filler before the answer: known only while its text is there, so noted with the call.
    db.table("llm_calls").add_column("filler_ppm", int)


@migrations()
def m009_runs_of_more_than_one_process(db: Database) -> None:
    db.execute(
        "create table run_parts (run_id text, id text, parent_id text, name text, session_id text, user_id text,"
        " project text, environment text, status text, error_type text, error text, started_at integer,"
        " ended_at integer, attributes text, writer_id text, primary key (run_id, id)) without rowid"
    )
    db.execute("create index idx_run_parts_running on run_parts (writer_id) where status = 'running'")
    db.table("runs").add_column("begun_elsewhere", int)


@migrations()
def m010_prompts_that_tell_their_size(db: Database) -> None:
    # Of their message, which never changes: an audit asks a million paths how large they are, and reads no message for it.
    db.table("prompts").add_column("role", str)
    db.table("prompts").add_column("bytes", int)


@migrations()
def m011_days_on_one_page(db: Database) -> None:
    for statement in DAY_DIGESTS:
        db.execute(statement)


def status_now(table: str, row: str = "t") -> str:
    """SQL: the status of a row by now. What runs in a process that is dead was interrupted, whatever the row says."""
    return f"case when {_is_left(table, row)} then 'interrupted' else {row}.status end"


def as_of_now(table: str, parts: bool = True) -> dict[str, str]:
    """SQL: the columns of a row (t) that are not as they stand there if its process is dead.

    `parts`: whether the file is of a version that knows of runs with more than one process.
    """
    left, run = _is_left(table, "t"), "t.id" if table == "runs" else "t.run_id"
    if parts and table != "runs":
        left = f"({left} or t.status = 'running' and {left_by_parts('t')})"
    found = {"ended_at": f"coalesce(t.ended_at, {last_event(run)})"}
    if table == "runs":
        found |= as_stored(run)
    now = {"status": "'interrupted'", **found}
    return {name: f"case when {left} then {sql} else t.{name} end" for name, sql in now.items()}


def _is_left(table: str, row: str) -> str:
    gone = dead(f"{row}.writer_id")
    if table != "runs":
        run = f"r.id = {row}.run_id and r.status = 'running' and {dead('r.writer_id')}"
        gone = f"exists (select 1 from main.runs r where {run})"
    return f"{row}.status = 'running' and {gone}"


def unknown_migrations(db: Database) -> list[str]:
    """Migrations in the file that this version does not have: the file is of a newer tokentrace."""
    ours = {migration.name for migration in migrations.pending(Database(memory=True))}
    return [applied.name for applied in migrations.applied(db) if applied.name not in ours]
