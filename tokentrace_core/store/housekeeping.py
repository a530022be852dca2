"""Retention, done by the writer: a pass an hour, by one of the processes that write to the file, a piece at a time.

Each piece is a short transaction of the writer's, between two batches of spans, so an agent waits for it no longer than
for a batch. A pass that fails or is cut off is begun again an hour later, where it was.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from datetime import UTC, datetime

from tokentrace_core.store.pieces import Pieces
from tokentrace_core.store.retention import Keeping, Retention
from tokentrace_core.store.sweep import is_at_work

log = logging.getLogger("tokentrace")

EVERY_S = 3_600.0
_BETWEEN_PIECES_S = 0.02
#: By how much the clock may have been moved, while this process runs, before a pass is left out.
_CLOCK_S = 600.0
_CLAIM = """
    insert into settings values ('retention_at', :now) on conflict do update set value = :now
    where cast(value as integer) not between :now - :every and :now
"""


class Housekeeping:
    """The passes of one writer. Used on its thread."""

    def __init__(self, rules: Retention) -> None:
        self._rules = rules
        self._pieces: Pieces | None = None
        self._due_at = time.monotonic()
        self._clock = time.time() - time.monotonic()

    @property
    def due_in(self) -> float:
        """Seconds until `do` has something to do."""
        return max(self._due_at - time.monotonic(), 0.0)

    def do(self, connection: sqlite3.Connection) -> None:
        """The next piece, inside a transaction."""
        if self._pieces is None:
            self._due_at = time.monotonic() + EVERY_S
            if not self._may_begin(connection):
                return
            connection.execute("pragma secure_delete = on")
            self._pieces = Keeping(connection, self._rules, datetime.fromtimestamp(time.time(), UTC)).pieces()
        if next(self._pieces, None) is None:
            self._pieces = None
            self._due_at = time.monotonic() + EVERY_S
        else:
            self._due_at = time.monotonic() + _BETWEEN_PIECES_S

    def give_up(self) -> None:
        """The piece could not be done, or its connection is no more."""
        if self._pieces is not None:
            self._pieces = None
            self._due_at = time.monotonic() + EVERY_S

    def _may_begin(self, connection: sqlite3.Connection) -> bool:
        moved = time.time() - time.monotonic() - self._clock
        if abs(moved) > _CLOCK_S:
            self._clock += moved
            log.warning(
                "tokentrace: the clock was moved by %d s; nothing is deleted by age for an hour", moved
            )
            return False
        if is_at_work(connection):
            return False
        now = int(time.time())
        return connection.execute(_CLAIM, {"now": now, "every": int(EVERY_S) - 60}).rowcount > 0
