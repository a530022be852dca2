"""What has been deleted from the file while this process writes to it, by retention or by a purge.

Looked at in each transaction, before anything is written: one row, read by its place. When something was deleted, the
writer no longer knows which texts are in the file; while a sweep is at work it notes those it needs; and
what belongs to a run or session that was purged does not come back, however late it is written.
"""

from __future__ import annotations

import sqlite3

from tokentrace_core.spans import Session
from tokentrace_core.store.subjects import Subjects
from tokentrace_core.store.trace_file import TraceFile

_NOTED = "insert or ignore into in_use values (?)"


class Deletions:
    """As one writer has seen them."""

    def __init__(self) -> None:
        self._generation: int | None = None
        self._sweeping = False
        self._subjects: Subjects | None = None
        """None: nobody was ever purged from this file."""
        self._purged: dict[str, int] = {}
        """By run or session: when it was purged, in microseconds; 0 for one that was not."""

    def look(self, connection: sqlite3.Connection, file: TraceFile) -> None:
        """See what has happened since the last transaction."""
        # A write that changes nothing takes the lock: who has only read cannot wait for it any more.
        connection.execute("update sweeps set generation = generation where false")
        generation, beat_at = connection.execute("select generation, beat_at from sweeps").fetchone()
        self._sweeping = beat_at is not None
        if generation != self._generation:
            file.forget()
            self._purged.clear()
            [purged] = connection.execute("select exists (select 1 from purged)").fetchone()
            self._subjects = Subjects.of(connection) if purged else None
            self._generation = generation

    def forget(self) -> None:
        """It may be another file next time."""
        self._generation = None

    def refuse(self, connection: sqlite3.Connection, span: object) -> bool:
        """Whether this belongs to what was purged."""
        if self._subjects is None:
            return False
        if isinstance(span, Session):
            # The same conversation may begin anew after it was deleted.
            return span.started_at <= self._purged_at(connection, "session", span.id)
        run_id = getattr(span, "run_id", None)
        return run_id is not None and self._purged_at(connection, "run", run_id) > 0

    def note(self, connection: sqlite3.Connection, text: str) -> None:
        """This text is needed, whatever a sweep has found."""
        if self._sweeping:
            connection.execute(_NOTED, [text])

    def _purged_at(self, connection: sqlite3.Connection, kind: str, name: str) -> int:
        at = self._purged.get(name)
        if at is None:
            assert self._subjects is not None
            found = connection.execute(
                "select at from purged where hash = ?", [self._subjects.hash(kind, name)]
            ).fetchone()
            at = self._purged[name] = found[0] if found else 0
            if len(self._purged) > 10_000:
                self._purged.clear()
        return at
