"""The ledger of shared limits: what was spent and what is set aside, in the trace file, for all its processes.

Looking and setting aside is one `BEGIN IMMEDIATE` transaction, so that fifty runs of one user in five processes
spend one day's limit once. What is set aside holds as long as its process lives (`lease`): one that is killed
blocks nobody for longer. Settling never waits: it goes with the next transaction of this process, the ledger's or the
writer's, whichever comes first.

Whose limit it is stands in the file only as a keyed hash: spending outlives the deletion of a user.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tokentrace_core.ids import new_span_id
from tokentrace_core.ledger import Hold, Share, Standing, Unavailable
from tokentrace_core.store.connection import connect
from tokentrace_core.store.errand import Errand
from tokentrace_core.store.lease import Lease, dead

#: The longest that a call waits for other processes that write to the file.
PATIENCE_S = 1.0


class Settlement(Errand):
    """A hold whose call is over: on its way into the file, where writing it twice counts it once."""

    __slots__ = ("_nano", "hold")

    def __init__(self, hold: Hold, nano_usd: int) -> None:
        self.hold = hold
        self._nano = nano_usd

    def write(self, connection: sqlite3.Connection) -> None:
        held = connection.execute(
            "delete from reservations where id = ? returning scope, subject, period", [self.hold.id]
        ).fetchall()
        _add(connection, [(*row, self._nano) for row in held])


class Spending(Errand):
    """An amount that was never set aside, such as what a tool charged. Written by the writer alone."""

    __slots__ = ("_nano", "_shares")

    def __init__(self, shares: Sequence[Share], nano_usd: int) -> None:
        self._shares = shares
        self._nano = nano_usd

    def write(self, connection: sqlite3.Connection) -> None:
        key = _key_of(connection)
        _add(
            connection,
            [(share.scope, _hashed(key, share), share.period, self._nano) for share in self._shares],
        )


class FileLedger:
    """The ledger of one trace file. `put` hands what can wait to the writer; `ready` waits until it has a file."""

    def __init__(self, path: Path, put: Callable[[object], None], ready: Callable[[float], bool]) -> None:
        self._path = path
        self._put = put
        self._ready = ready

    def begin_afresh(self, lease: Lease, busy: threading.Lock) -> object:
        """Have a connection of one's own; gives back the one that was there.

        `busy`: held by whoever of this process writes to the file, so that nobody waits by polling for a lock of
        SQLite's, and none of its connections writes while another one moves the log into the file.
        """
        before = getattr(self, "_connection", None)
        self._lease = lease
        self._busy = busy
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._key = b""
        self._settled: deque[Settlement] = deque()
        return before

    def reserve(
        self, shares: Sequence[Share], sure: int, expected: int
    ) -> tuple[Hold | None, list[Standing]]:
        """See `tokentrace_core.ledger.Ledger`."""
        if not self._ready(PATIENCE_S):
            raise Unavailable(f"{self._path} cannot be written")
        if not self._busy.acquire(timeout=PATIENCE_S):
            raise Unavailable(f"{self._path} is being written for too long")
        try:
            return self._in_transaction(lambda file: self._reserve(file, shares, sure, expected))
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise Unavailable(f"{type(error).__name__}: {error}") from None
        finally:
            self._busy.release()

    def settle(self, hold: Hold, nano_usd: int) -> None:
        """See `tokentrace_core.ledger.Ledger`."""
        settlement = Settlement(hold, nano_usd)
        self._settled.append(settlement)
        self._lease.let_go(hold.id)
        self._put(settlement)

    def spend(self, shares: Sequence[Share], nano_usd: int) -> None:
        """Count an amount that was not set aside."""
        self._put(Spending(shares, nano_usd))

    def close(self) -> None:
        """Let go of the file. By whoever is `busy`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ── the transaction ──────────────────────────────────────────────────────────────────────────────

    def _in_transaction(
        self, ask: Callable[[sqlite3.Connection], tuple[Hold | None, list[Standing]]]
    ) -> tuple[Hold | None, list[Standing]]:
        connection = self._open()
        settled = list(self._settled)
        connection.execute("begin immediate")
        try:
            for settlement in settled:
                settlement.write(connection)
            answer = ask(connection)
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
        for _ in settled:
            self._settled.popleft()
        return answer

    def _reserve(
        self, connection: sqlite3.Connection, shares: Sequence[Share], sure: int, expected: int
    ) -> tuple[Hold | None, list[Standing]]:
        self._lease.renew(connection)
        subjects = [_hashed(self._key, share) for share in shares]
        standings = [
            _standing(connection, share, subject) for share, subject in zip(shares, subjects, strict=True)
        ]
        if any(not _has_room(standing, sure) for standing in standings):
            return None, standings
        hold = Hold(new_span_id(), tuple(shares))
        connection.executemany(
            "insert into reservations (id, scope, subject, period, nano_usd, writer_id) values (?, ?, ?, ?, ?, ?)",
            [
                (hold.id, share.scope, subject, share.period, expected, self._lease.id)
                for share, subject in zip(shares, subjects, strict=True)
            ],
        )
        self._lease.hold(hold.id)
        return hold, standings

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> sqlite3.Connection:
        """The connection to the file that the path leads to now; the writer has made its tables."""
        found = self._path.stat()
        file = (found.st_dev, found.st_ino)
        if self._connection is not None and file != self._file:
            self.close()
        if self._connection is None:
            connection = connect(
                self._path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            connection.execute("pragma synchronous = normal")
            connection.execute("pragma wal_autocheckpoint = 0")  # one connection of a process does that
            self._key = _key_of(connection)
            self._connection, self._file = connection, file
        return self._connection


def _standing(connection: sqlite3.Connection, share: Share, subject: str) -> Standing:
    where = [share.scope, subject, share.period]
    limit_and_spent = connection.execute(
        "select limit_nano_usd, spent_nano_usd from budget_ledger where scope = ? and subject = ? and period = ?",
        where,
    ).fetchone()
    if limit_and_spent is None or limit_and_spent[0] != share.limit_nano:
        connection.execute(
            "insert into budget_ledger (scope, subject, period, limit_nano_usd, spent_nano_usd) values (?, ?, ?, ?, 0)"
            " on conflict do update set limit_nano_usd = excluded.limit_nano_usd",
            [*where, share.limit_nano],
        )
    [reserved] = connection.execute(
        "select coalesce(sum(nano_usd), 0) from reservations r where scope = ? and subject = ? and period = ?"
        f" and not {dead('r.writer_id')}",
        where,
    ).fetchone()
    return Standing(share, limit_and_spent[1] if limit_and_spent else 0, reserved)


def _has_room(standing: Standing, sure: int) -> bool:
    return standing.used < standing.share.limit_nano >= standing.used + sure


def _add(connection: sqlite3.Connection, rows: list[tuple[str, str, str, int]]) -> None:
    connection.executemany(
        "insert into budget_ledger (scope, subject, period, spent_nano_usd) values (?, ?, ?, ?)"
        " on conflict do update set spent_nano_usd = spent_nano_usd + excluded.spent_nano_usd",
        rows,
    )


def _key_of(connection: sqlite3.Connection) -> bytes:
    [key] = connection.execute("select value from settings where name = 'ledger_key'").fetchone()
    return bytes.fromhex(key)


def _hashed(key: bytes, share: Share) -> str:
    """Whose limit it is, in a form from which nobody can tell."""
    said = f"{share.scope}\n{share.subject}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, key=key, digest_size=16).hexdigest()


def subject_hash(key: str, scope: str, subject: str) -> str:
    """The hash under which the ledger of a file with this key keeps a subject."""
    return _hashed(bytes.fromhex(key), Share(scope, subject, "", 0))
