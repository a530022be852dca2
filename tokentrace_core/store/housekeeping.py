"""Retention, done by the writer: a pass an hour, by one of the processes that write to the file, a piece at a time.

Each piece is a short transaction of the writer's, between two batches of spans, so an agent waits for it no longer than
for a batch. A pass that fails goes on a minute later; one that is cut off, with its process, an hour later, where it was.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tokentrace_core.store.pieces import Pieces
from tokentrace_core.store.retention import Keeping, Retention
from tokentrace_core.store.sweep import is_at_work

log = logging.getLogger("tokentrace")

EVERY_S = 3_600.0
_BETWEEN_PIECES_S = 0.02
#: How soon a piece that failed is tried again.
_AGAIN_S = 60.0
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
        self._connection: sqlite3.Connection | None = None
        """Of the pieces."""
        self._due_at = time.monotonic()
        self._clock = time.time() - time.monotonic()

    @property
    def due_in(self) -> float:
        """Seconds until `do` has something to do."""
        return max(self._due_at - time.monotonic(), 0.0)

    def go_on(self, attempt: Callable[[Callable[[sqlite3.Connection], None]], str | None]) -> None:
        """The next piece, if it is time. `attempt` runs it in a transaction, and says why it could not. Never raises."""
        if self.due_in:
            return
        try:
            failure = attempt(self._do)
        except Exception:  # the writer's thread must live
            log.exception("tokentrace: retention failed; it is tried again in a minute")
            failure = "internal error"
        if failure is not None:
            self._connection = None
            self._due_at = time.monotonic() + _AGAIN_S

    def _do(self, connection: sqlite3.Connection) -> None:
        if self._pieces is None and not self._may_begin(connection):
            return self._rest()
        if (
            self._pieces is None or connection is not self._connection
        ):  # it was opened anew: another fork, or file
            connection.execute("pragma secure_delete = on")
            self._connection = connection
            self._pieces = Keeping(connection, self._rules, datetime.fromtimestamp(time.time(), UTC)).pieces()
        if next(self._pieces, None) is None:
            return self._rest()
        self._due_at = time.monotonic() + _BETWEEN_PIECES_S
        return None

    def _rest(self) -> None:
        """The pass is over, done or not."""
        self._pieces = self._connection = None
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
