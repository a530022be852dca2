"""Has this month come near to the last one? Asked of the file, by its writer, once a minute at most.

A limit needs a figure that somebody has to think of. What was used last month is a figure that everybody has: when
this month's tokens reach a part of it, that is said, once, in whichever process notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tokentrace_core.store.errand import Errand

if TYPE_CHECKING:
    import sqlite3

_ASK_EVERY_S = 60.0

#: Told the part of last month's tokens that this month has used.
Near = Callable[[float], None]


class MonthWatch(Errand):
    """Given to the writer after a run, when it is due."""

    def __init__(self, project: str | None, part: float, near: Near) -> None:
        self._project = project
        self._part = part
        self._near = near
        self._asked_at = -_ASK_EVERY_S
        self._reached: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is worth asking again; saying so counts as asking."""
        due = time.monotonic() - self._asked_at >= _ASK_EVERY_S
        if due:
            self._asked_at = time.monotonic()
        return due

    def write(self, connection: sqlite3.Connection) -> None:
        """Compare the months, and remember in the file that it was said."""
        now = datetime.fromtimestamp(time.time(), UTC)
        this_month = _first_of(now.year, now.month)
        last_month = _first_of(now.year - (now.month == 1), (now.month - 2) % 12 + 1)
        before = self._tokens(connection, last_month, this_month)
        used = self._tokens(connection, this_month, now)
        if not before or used < self._part * before:
            return
        said = f"near_last_month {this_month:%Y-%m} {self._project or ''}"
        new = connection.execute("insert or ignore into settings values (?, ?)", [said, str(used)]).rowcount
        self._reached = used / before if new else None

    def written(self) -> None:
        """Say it, now that it is sure that nobody else will."""
        reached, self._reached = self._reached, None
        if reached is not None:
            self._near(reached)

    def _tokens(self, connection: sqlite3.Connection, since: datetime, until: datetime) -> int:
        [tokens] = connection.execute(
            "select coalesce(sum(coalesce(c.input_uncached_tokens, 0) + coalesce(c.cache_read_tokens, 0)"
            " + coalesce(c.cache_write_5m_tokens, 0) + coalesce(c.cache_write_1h_tokens, 0)"
            " + coalesce(c.output_tokens, 0)), 0)"
            " from llm_calls c join runs r on r.id = c.run_id"
            " where c.started_at >= ? and c.started_at < ? and r.project is ?",
            [_us(since), _us(until), self._project],
        ).fetchone()
        [gone] = connection.execute(  # calls of so long ago that only the sums of their days are left
            "select coalesce(sum(input_tokens + output_tokens), 0) from daily_costs"
            " where day >= ? and day < ? and project = coalesce(?, '')",
            [since.strftime("%Y-%m-%d"), until.strftime("%Y-%m-%d"), self._project],
        ).fetchone()
        return int(tokens + gone)


def _first_of(year: int, month: int) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
