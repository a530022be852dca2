"""Writing figures of a repricing into the trace file: all of them or none, and the old ones stay.

Calls, the totals of their runs and the running sums of their steps change in one transaction, in which each changed
call gets a row in `repriced_calls` with both figures. Whoever is interrupted in it has changed nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from tokentrace_core.errors import StoreError
from tokentrace_core.ids import new_span_id
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store import audit, schema, summary
from tokentrace_core.store.connection import connect
from tokentrace_core.store.repricing import Question, Repricing, select

_LOCKED_S = 30.0


def apply(path: Path, book: PriceBook, question: Question) -> tuple[str, Repricing]:
    """Price again, for good. The id under which the old figures are kept. Raises `StoreError`."""
    repricing, number = Repricing(book, question), new_span_id()
    connection = _opened(path)
    try:
        connection.execute("begin immediate")
        connection.executemany(_KEEP, _rows(number, repricing, connection, question))
        for statement in (_CALLS, _STEPS, _RUNS):
            connection.execute(statement, {"number": number})
        runs = connection.execute(_CHANGED_RUNS, {"number": number}).fetchall()
        summary.renew(connection, (run[0] for run in runs))
        connection.execute(_NOTE, _note(number, repricing))
        audit.note(connection, "repricing", calls=repricing.total().changed)
        connection.execute("commit")
    except sqlite3.Error as error:
        raise StoreError(f"{path} could not be repriced, and is as it was: {error}") from error
    finally:
        connection.close()  # what is not committed is undone
    return number, repricing


def _opened(path: Path) -> sqlite3.Connection:
    try:
        connection = connect(path, mode="rw", timeout=_LOCKED_S, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be written: {error}") from error
    try:
        database = Database(connection)
        if newer := schema.unknown_migrations(database):
            raise StoreError(f"{path} was written by a newer tokentrace (it has {newer[-1]!r}).")
        schema.migrations.apply(database)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{path} cannot be written: {error}") from error
    except StoreError:
        connection.close()
        raise
    return connection


def _rows(
    number: str, repricing: Repricing, connection: sqlite3.Connection, question: Question
) -> Iterator[tuple[Any, ...]]:
    sql, parameters = select(schema.status_now("runs", "r"), question)
    calls = connection.execute(sql, parameters)
    names = [column[0] for column in calls.description]
    for change in repricing.changes(dict(zip(names, row, strict=True)) for row in calls):
        yield number, change.run_id, change.id, *change.old, *change.new


def _note(number: str, repricing: Repricing) -> dict[str, Any]:
    total, question = repricing.total(), repricing.question
    return {
        "id": number,
        "at": time.time_ns() // 1_000,
        "as_of": question.as_of and question.as_of.isoformat(),
        "models": ",".join(question.models) or None,
        "calls": total.changed,
        "old": total.old_nano,
        "new": total.new_nano,
    }


_KEEP = "insert into repriced_calls values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTE = "insert into repricings values (:id, :at, :as_of, :models, :calls, :old, :new)"
_CALLS = """
    update llm_calls set (cost_nano_usd, cost_status, price_version) = (
        select new_nano_usd, new_status, new_version from repriced_calls p
        where p.repricing_id = :number and p.run_id = llm_calls.run_id and p.id = llm_calls.id
    )
    where (run_id, id) in (select run_id, id from repriced_calls where repricing_id = :number)
"""
_CHANGED_RUNS = "select distinct run_id from repriced_calls where repricing_id = :number"
_DEARER = "coalesce(p.new_nano_usd, 0) - coalesce(p.old_nano_usd, 0)"
_UNPRICED = "((p.new_status = 'unpriced') - (p.old_status = 'unpriced'))"
_TOKENS = (
    "c.input_uncached_tokens + coalesce(c.cache_read_tokens, 0) + coalesce(c.cache_write_5m_tokens, 0)"
    " + coalesce(c.cache_write_1h_tokens, 0) + coalesce(c.output_tokens, 0)"
)
_OF_RUN = "from repriced_calls p join llm_calls c on c.run_id = p.run_id and c.id = p.id where p.repricing_id = :number"
_STEPS = f"""
    update steps set cumulative_cost_nano_usd = cumulative_cost_nano_usd + coalesce((
        select sum({_DEARER}) {_OF_RUN} and p.run_id = steps.run_id
          and c.ended_at <= coalesce(steps.ended_at, c.ended_at)
    ), 0)
    where run_id in (select run_id from repriced_calls where repricing_id = :number)
"""
_RUNS = f"""
    update runs set
        cost_nano_usd = cost_nano_usd + (select sum({_DEARER}) {_OF_RUN} and p.run_id = runs.id),
        unpriced_calls = unpriced_calls + (select sum({_UNPRICED}) {_OF_RUN} and p.run_id = runs.id),
        unpriced_tokens = unpriced_tokens
            + (select sum({_UNPRICED} * ({_TOKENS})) {_OF_RUN} and p.run_id = runs.id)
    where id in (select run_id from repriced_calls where repricing_id = :number)
"""
