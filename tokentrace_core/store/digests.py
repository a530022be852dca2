"""Digests of days in a trace file: found, and kept so that none can be of a state that is no more.

Who makes one claims its day at first, in a transaction of its own, reads the runs after that, and keeps the digest only where
its claim still stands: a run that was written in between has taken the claim away (`digest_table`). A file that cannot be
written, or only by waiting, gets none; nobody is told, since the question is answered all the same.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

from tokentrace_core.store.connection import connect
from tokentrace_core.store.digest_table import day_of
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.trace_file import transaction

#: How long others are waited for that write.
_PATIENCE_S = 0.2


class Digest(NamedTuple):
    """What the runs that began on one day (UTC) add up to."""

    body: bytes | None
    """None: the day is not worth one, until a run of it changes."""
    first: int | None = None
    last: int | None = None
    """When the first and the last of what it has was spent, in microseconds; None if nothing was."""


class Digests:
    """Those of one kind, in one file. Days are counted since the epoch."""

    def __init__(self, reader: Reader, kind: str) -> None:
        self._reader, self._kind = reader, kind

    def found(self, first: int, last: int) -> dict[int, Digest]:
        """By day, from the first day to the last."""
        sql = """
            select day, body, first, last from day_digests
            where kind = ? and claim is null and day between ? and ?
        """
        return {day: Digest(*row) for day, *row in self._reader.execute(sql, [self._kind, first, last])}

    def spent_before(self, moment: int, last: int) -> set[int]:
        """Days up to this one of which all was spent before that moment."""
        sql = """
            select day from day_digests where kind = ? and body is not null and day <= ?
            and (last is null or last < ?)
        """
        return {day for (day,) in self._reader.execute(sql, [self._kind, last, moment])}

    def claim(self, days: Iterable[int]) -> Claim | None:
        """Before their runs are read. None: the file takes none."""
        claim = Claim(self._reader, self._kind, secrets.token_hex(8))
        return claim if claim.lay(days) else None


class Claim:
    """Digests of some days in the making."""

    def __init__(self, reader: Reader, kind: str, name: str) -> None:
        self._reader, self._kind, self._name = reader, kind, name

    def lay(self, days: Iterable[int]) -> bool:
        sql = """
            insert into day_digests (day, kind, claim) values (?, ?, ?)
            on conflict do update set claim = excluded.claim, first = null, last = null, body = null
        """
        return self._write(sql, [(day, self._kind, self._name) for day in days])

    def running(self) -> set[int]:
        """Days with a run that is not over."""
        sql = f"select distinct {day_of('started_at')} from main.runs where status = 'running'"
        return {day for (day,) in self._reader.execute(sql)}

    def forget(self, kinds: str, *, but: str) -> None:
        """Digests of these kinds that nobody will ask for any more: all but those. Both are patterns of `glob`."""
        self._write("delete from day_digests where kind glob ? and kind not glob ?", [(kinds, but)])

    def keep(self, made: Mapping[int, Digest]) -> None:
        """Those whose days are as they were when they were claimed."""
        sql = """
            update day_digests set claim = null, body = ?, first = ?, last = ?
            where day = ? and kind = ? and claim = ?
        """
        self._write(sql, [(*digest, day, self._kind, self._name) for day, digest in made.items()])

    def _write(self, sql: str, rows: list[tuple[object, ...]]) -> bool:
        try:
            with _writable(self._reader) as connection, transaction(connection):
                connection.executemany(sql, rows)
        except (sqlite3.Error, OSError):
            return False
        return True


@contextmanager
def _writable(reader: Reader) -> Iterator[sqlite3.Connection]:
    """A connection of its own, which leaves nothing in the file's log if nobody else is there."""
    with closing(connect(reader.path, mode="rw", timeout=_PATIENCE_S)) as connection:
        yield connection
        connection.execute("pragma busy_timeout = 0")
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
