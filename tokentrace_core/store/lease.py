"""Who is alive: each writer renews a lease in its file, and a run without a live writer is `interrupted`.

A process that is killed cannot say so, and a process number proves nothing: it may be another's by now, or that of
a parent that waits for a dead child. So a writer with open runs renews `writers.beat_at` every few seconds. Whoever
reads the file counts what runs under a lease that has run out as `interrupted`, ended with the last that is known of it; the
next writer to open the file writes that down. A process that was only stopped, and goes on, takes it back.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING

from tokentrace_core.ids import new_span_id
from tokentrace_core.spans import Run, RunPart
from tokentrace_core.store import summary

if TYPE_CHECKING:
    import sqlite3

BEAT_S = 5.0
#: A writer that has not renewed its lease for so long is dead.
DEAD_AFTER_S = 30

_NOW_US = "cast((julianday('now') - 2440587.5) * 86400000000 as integer)"


def dead(writer_id: str) -> str:
    """SQL: whether the writer with this id holds no lease any more."""
    return (
        f"not exists (select 1 from writers w where w.id = {writer_id} and w.ended_at is null"
        f" and w.beat_at > {_NOW_US} - {DEAD_AFTER_S * 1_000_000})"
    )


class Lease:
    """The lease of one writer on its file. Used on the writer's thread, inside its transactions."""

    def __init__(self) -> None:
        self.id = new_span_id()
        self._open_runs: set[str] = set()
        self._open_parts: set[str] = set()
        self._holds: set[str] = set()
        self._marked: set[str] = set()
        """Those of which the file says that they are ours."""
        self._beat_at = 0

    @property
    def due_in(self) -> float | None:
        """Seconds until it has to be renewed; None if nothing runs. Never at once: that may just have failed."""
        if not self._open_runs and not self._open_parts and not self._holds:
            return None
        return min(max(BEAT_S / 5, BEAT_S - (_now_us() - self._beat_at) / 1_000_000), BEAT_S)

    def take(self, connection: sqlite3.Connection) -> None:
        """Begin, and write down what dead writers have left open."""
        now = _now_us()
        connection.execute(
            "insert or replace into writers (id, pid, host, started_at, beat_at) values (?, ?, ?, ?, ?)",
            [self.id, os.getpid(), socket.gethostname(), now, now],
        )
        self._beat_at = now
        self.forget()
        _bury(connection)

    def note(self, connection: sqlite3.Connection, run: Run) -> None:
        """A run of this writer's, as it was just written."""
        if run.status != "running":
            self._open_runs.discard(run.id)
            self._marked.discard(run.id)
        elif run.id not in self._marked:
            self._open_runs.add(run.id)
            self._marked.add(run.id)
            connection.execute("update runs set writer_id = ? where id = ?", [self.id, run.id])

    def note_part(self, connection: sqlite3.Connection, part: RunPart) -> None:
        """A part of another's run, as it was just written."""
        if part.status == "running":
            self._open_parts.add(part.id)
        else:
            self._open_parts.discard(part.id)
        mark = "update run_parts set writer_id = ? where run_id = ? and id = ?"
        connection.execute(mark, [self.id, part.run_id, part.id])

    def hold(self, reservation: str) -> None:
        """Live on while this is set aside. From any thread."""
        self._holds.add(reservation)

    def let_go(self, reservation: str) -> None:
        self._holds.discard(reservation)

    def forget(self) -> None:
        """What was marked may have been rolled back, or the file is another one."""
        self._marked.clear()

    def renew(self, connection: sqlite3.Connection) -> None:
        """Say that we live, unless that was said a moment ago. Also when the clock was set back."""
        now = _now_us()
        silent_s = (now - self._beat_at) / 1_000_000
        if not 0 <= silent_s < BEAT_S / 2:
            connection.execute("update writers set beat_at = ? where id = ?", [now, self.id])
            self._beat_at = now
            if not 0 <= silent_s < DEAD_AFTER_S:
                self._rise(connection)

    def _rise(self, connection: sqlite3.Connection) -> None:
        """Somebody may have taken us for dead. What is open here is running, and was not interrupted."""
        for table, key in _LEVELS:
            connection.executemany(
                f"update {table} set status = 'running', ended_at = null where {key} = ? and status = 'interrupted'",
                [(run_id,) for run_id in self._open_runs],
            )
        connection.executemany(
            "update run_parts set status = 'running', ended_at = null where id = ? and status = 'interrupted'",
            [(part_id,) for part_id in self._open_parts],
        )
        parts = "select run_id from run_parts where id in (select value from json_each(?))"
        shared = connection.execute(parts, [json.dumps([*self._open_parts])])
        summary.renew(connection, {*self._open_runs, *(run_id for (run_id,) in shared)})

    def end(self, connection: sqlite3.Connection) -> None:
        """Nothing runs any more, or what does will never be told."""
        connection.execute("update writers set ended_at = ? where id = ?", [_now_us(), self.id])


def _bury(connection: sqlite3.Connection) -> None:
    """Runs of dead writers, and what was open in them, are `interrupted`; they end with the last that is known.

    What they had set aside of shared limits is free.
    """
    connection.execute(f"delete from reservations where {dead('reservations.writer_id')}")
    gone = f"select id from runs where status = 'running' and {dead('runs.writer_id')}"
    for (run_id,) in connection.execute(gone).fetchall():
        for table, key in reversed(_LEVELS):  # a run last: its last event is looked up in what it was
            ended = last_event(":run")
            totals = "".join(f", {name} = {sql}" for name, sql in as_stored(":run").items())
            connection.execute(
                f"update {table} set status = 'interrupted', ended_at = coalesce(ended_at, {ended})"
                f"{totals if table == 'runs' else ''} where {key} = :run and status = 'running'",
                {"run": run_id},
            )
        summary.renew(connection, [run_id])
    _bury_parts(connection)


def _bury_parts(connection: sqlite3.Connection) -> None:
    """The same for parts of runs that others began and may go on with."""
    gone = f"select distinct run_id from run_parts where status = 'running' and {dead('run_parts.writer_id')}"
    for (run_id,) in connection.execute(gone).fetchall():
        connection.execute(
            f"update run_parts set status = 'interrupted', ended_at = {last_event(':run')}"
            f" where run_id = :run and status = 'running' and {dead('run_parts.writer_id')}",
            {"run": run_id},
        )
        close_what_is_left(connection, run_id)
        summary.renew(connection, [run_id])


def close_what_is_left(connection: sqlite3.Connection, run_id: str) -> None:
    """What is open in a run that is over, and that no process works on any more, was interrupted."""
    for table, key in reversed(_LEVELS[1:]):
        connection.execute(
            f"update {table} set status = 'interrupted', ended_at = coalesce(ended_at, {last_event(':run')})"
            f" where {key} = :run and status = 'running' and {left_by_parts(table)}",
            {"run": run_id},
        )


def left_by_parts(row: str) -> str:
    """SQL: whether a row of a run with parts is open although the run is over, and nobody alive has a part in it."""
    part = f"exists (select 1 from main.run_parts p where p.run_id = {row}.run_id"
    return (
        f"{part}) and not {part} and p.status = 'running' and not {dead('p.writer_id')})"
        f" and exists (select 1 from main.runs r where r.id = {row}.run_id and r.status not in ('running', 'waiting'))"
    )


_LEVELS = (("runs", "id"), ("steps", "run_id"), ("llm_calls", "run_id"), ("tool_calls", "run_id"))


def last_event(run: str) -> str:
    """SQL: when the last was heard of a run."""
    heard = " union all ".join(
        f"select max(coalesce(ended_at, started_at)) as at from main.{table} where {key} = {run}"
        for table, key in _LEVELS
    )
    return f"(select max(at) from ({heard}))"


def as_stored(run: str) -> dict[str, str]:
    """SQL: a run's totals by what is in the file. Its row may be a moment older, or younger, than those of its calls."""
    calls = f"from main.llm_calls where run_id = {run} and status != 'refused'"
    tools = f"from main.tool_calls where run_id = {run}"
    tokens_in = (
        "coalesce(input_uncached_tokens, 0) + coalesce(cache_read_tokens, 0)"
        " + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0)"
    )
    unpriced = "coalesce(cost_status = 'unpriced', 0)"
    return {
        "steps": f"(select count(*) from main.steps where run_id = {run})",
        "llm_calls": f"(select count(*) {calls})",
        "tool_calls": f"(select count(*) {tools})",
        "refused_calls": f"(select count(*) from main.llm_calls where run_id = {run} and status = 'refused')",
        "input_tokens": f"(select coalesce(sum({tokens_in}), 0) {calls})",
        "cached_tokens": f"(select coalesce(sum(cache_read_tokens), 0) {calls})",
        "output_tokens": f"(select coalesce(sum(output_tokens), 0) {calls})",
        "cost_nano_usd": f"((select coalesce(sum(cost_nano_usd), 0) {calls})"
        f" + (select coalesce(sum(cost_nano_usd), 0) {tools}))",
        "unpriced_calls": f"(select coalesce(sum({unpriced}), 0) {calls})",
        "unpriced_tokens": f"(select coalesce(sum({unpriced} * ({tokens_in} + coalesce(output_tokens, 0))), 0) {calls})",
        "estimated_calls": f"(select coalesce(sum(usage_source = 'estimated'), 0) {calls})",
    }


def _now_us() -> int:
    return time.time_ns() // 1_000
