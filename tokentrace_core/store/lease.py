"""Who is alive: each writer renews a lease in its file, and a run without a live writer is `interrupted`.

A process that is killed cannot say so, and a process number proves nothing: it may be another's by now, or that of
a parent that waits for a dead child. So a writer with open runs renews `writers.beat_at` every few seconds. Whoever
reads the file counts what runs under a lease that has run out as `interrupted`; the next writer to open the
file writes it down. A process that was only stopped, and goes on, writes its runs as they are again.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from tokentrace_core.ids import new_span_id
from tokentrace_core.spans import Run

if TYPE_CHECKING:
    import sqlite3

BEAT_S = 5.0
#: A writer that has not renewed its lease for so long is dead.
DEAD_AFTER_S = 30
_RENEW_US = int(BEAT_S * 500_000)

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
        self._holds: set[str] = set()
        self._beat_at = 0

    @property
    def due_in(self) -> float | None:
        """Seconds until it has to be renewed; None if nothing runs. Never at once: that may just have failed."""
        if not self._open_runs and not self._holds:
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
        _bury(connection)

    def note(self, connection: sqlite3.Connection, run: Run) -> None:
        """A run of this writer's, as it was just written."""
        if run.status != "running":
            self._open_runs.discard(run.id)
        elif run.id not in self._open_runs:
            self._open_runs.add(run.id)
            connection.execute("update runs set writer_id = ? where id = ?", [self.id, run.id])

    def hold(self, reservation: str) -> None:
        """Live on while this is set aside. From any thread."""
        self._holds.add(reservation)

    def let_go(self, reservation: str) -> None:
        self._holds.discard(reservation)

    def renew(self, connection: sqlite3.Connection) -> None:
        """Say that we live, unless that was said a moment ago. Also when the clock was set back."""
        now = _now_us()
        if not 0 <= now - self._beat_at < _RENEW_US:
            connection.execute("update writers set beat_at = ? where id = ?", [now, self.id])
            self._beat_at = now

    def end(self, connection: sqlite3.Connection) -> None:
        """Nothing runs any more, or what does will never be told."""
        connection.execute("update writers set ended_at = ? where id = ?", [_now_us(), self.id])


def _bury(connection: sqlite3.Connection) -> None:
    """Runs of dead writers, and what was open in them, are `interrupted`; they ended with the last that is known.

    What they had set aside of shared limits is free.
    """
    connection.execute(f"delete from reservations where {dead('reservations.writer_id')}")
    left = [
        row[0]
        for row in connection.execute(
            f"select id from runs where status = 'running' and {dead('runs.writer_id')}"
        )
    ]
    for run_id in left:
        last = connection.execute(_LAST_EVENT, {"run": run_id}).fetchone()[0]
        for table, key in (
            ("runs", "id"),
            ("steps", "run_id"),
            ("llm_calls", "run_id"),
            ("tool_calls", "run_id"),
        ):
            connection.execute(
                f"update {table} set status = 'interrupted', ended_at = coalesce(ended_at, ?)"
                f" where {key} = ? and status = 'running'",
                [last, run_id],
            )


_LAST_EVENT = """
    select max(at) from (
        select started_at as at from runs where id = :run
        union all select max(coalesce(ended_at, started_at)) from steps where run_id = :run
        union all select max(coalesce(ended_at, started_at)) from llm_calls where run_id = :run
        union all select max(coalesce(ended_at, started_at)) from tool_calls where run_id = :run
    )
"""


def _now_us() -> int:
    return time.time_ns() // 1_000
