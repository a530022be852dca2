"""The writer's hold on its file: one connection, reopened when the path leads to another file than before.

Who deletes or replaces a trace that is being written would otherwise get a writer that fills a file nobody can
find. What was in the old file is gone; what comes goes where the path leads now. A file that is damaged is moved
aside, whole, and a new one begun: nobody's traces are thrown away to repair them.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be renamed anyway
    fcntl = None  # type: ignore[assignment]

from tokentrace_core.shield import warn_once
from tokentrace_core.store import connection as connections

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

_KNOWN_IDS = 8_192
#: Short, so that a fork, and an exit, need not wait long for a locked file; the writer tries again.
_LOCKED_S = 0.5

#: How long others are waited for that open a file in the same folder.
_ALONE_S = 2.0

#: Rows are small or about 2 KB: on pages of the usual 4 KB, half of a file would be air.
_PAGE_BYTES = 2_048

#: Held while sqlite-utils is imported. A fork amid that would leave the child with half of a module, for good.
importing = threading.Lock()

Identity = tuple[int, int]
#: "normal": survives whatever happens to the process; a power cut may cost the last moments. "full": not even those.
Durability = Literal["normal", "full"]


class TraceFile:
    """One file, open or not, and which contents (by their hash) it is known to have."""

    def __init__(
        self,
        path: Path,
        on_open: Callable[[sqlite3.Connection], None] = lambda _: None,
        durability: Durability = "normal",
    ) -> None:
        self._path = path
        self._on_open = on_open
        self._durability = durability
        self._connection: sqlite3.Connection | None = None
        """Also one that failed on a damaged file: closing it would write to what is to be kept."""
        self._database: Database | None = None
        self._opened: Identity | None = None
        """What the path led to when the connection was made, or tried."""
        self._identities: dict[str, Identity | None] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    def open(self) -> Database:
        """The connection to the file that the path leads to now; created, with our tables, if there is none."""
        path = (
            self._path.expanduser()
        )  # a home that cannot be found says so here, and is not made as a folder
        if self._database is None or self.was_replaced():
            _import()
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone_in(path.parent):
                if self.was_replaced():
                    log.warning(
                        "tokentrace: %s was deleted or replaced; what comes now goes to the file there", path
                    )
                    self._remove_leftovers(path)
                    self.close()
                self._database = self._opened_at(path)
        return self._database

    def _opened_at(self, path: Path) -> Database:
        """Alone: while SQLite opens a file, the log and journal that it finds beside it must be that file's."""
        if not path.exists():
            path.touch(mode=0o600)
        self._opened = _identity(path)
        self._connection = _connected(path)
        try:
            database = _prepared(path, self._connection, self._durability)
            with transaction(self._connection):
                self._on_open(self._connection)
        except BaseException as error:
            if not (isinstance(error, Exception) and is_damage(error)):
                self.close()
            raise
        self._identities = {end: _identity(beside(path, end)) for end in ("-wal", "-shm")}
        if _identity(path) != self._opened:  # replaced at this very moment: these are not surely ours
            self._identities.clear()
        self._identities[""] = self._opened
        return database

    def was_replaced(self) -> bool:
        """Whether the path leads to another file than the one that is open, or to none."""
        return bool(self._identities) and _identity(self._path.expanduser()) != self._identities[""]

    def close(self) -> None:
        """Let go of the file. Nothing is known of it any more: it may be another one next time."""
        self.forget()
        self._identities = {}
        connection, self._connection, self._database = self._connection, None, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                log.debug("tokentrace: the file did not close cleanly", exc_info=True)

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def move_aside(self, why: Exception) -> bool:
        """Keep a damaged file under another name, with its log. False if that cannot be done.

        True also if it is gone from its place already: another process has found the damage, too, and what is
        there now is the new file.
        """
        path = self._path.expanduser()
        if connections.looks_encrypted(path):
            self.close()
            warn_once(f"{path} is encrypted, it seems; set {connections.KEY_VARIABLE} to its key")
            return False
        kept = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        try:
            with _alone_in(path.parent):
                if _identity(path) != self._opened:
                    self.close()
                    return True
                if kept.exists():  # moved a moment ago, and damaged again: this will not end well
                    return False
                for end in ("-shm", "-wal", ""):
                    if beside(path, end).exists():
                        beside(path, end).rename(beside(kept, end))
                # Only now: SQLite tidies up after a file that it closes, but not after one that is not in its place.
                self.close()
        except OSError:
            self.close()
            return False
        log.error("tokentrace: %s is damaged (%s); it is kept as %s, and a new one is begun", path, why, kept)
        return True

    def knows(self, content: str) -> bool:
        return content in self._known

    def remember(self, content: str) -> None:
        self._known[content] = None
        if len(self._known) > _KNOWN_IDS:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """What was remembered may have been rolled back."""
        self._known.clear()

    def _remove_leftovers(self, path: Path) -> None:
        """The log and index of the file that is gone: SQLite would take them for the new one's.

        Only if they are surely the old ones, by their inodes, which nobody else gets as long as our connection is open;
        and unless somebody has begun a log for a new file.
        """
        ours = {
            end
            for end in ("-wal", "-shm")
            if self._identities.get(end) and _identity(beside(path, end)) == self._identities[end]
        }
        if "-wal" in ours or not path.exists():
            for end in ours:
                with suppress(OSError):
                    beside(path, end).unlink(missing_ok=True)


def beside(path: Path, end: str) -> Path:
    """The file with this ending next to a trace file."""
    return path.with_name(path.name + end)


def _identity(path: Path) -> Identity | None:
    """Which file a path leads to: names can be given anew, inodes of an open file cannot."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """One of us at a time, of all processes, opens, moves or removes files in this folder.

    For whoever opens a file by name, and its log by name, must not get those of two different files. Not for ever:
    one who is stopped just then would stop them all.
    """
    with ExitStack() as held:
        if fcntl is not None:
            with suppress(OSError):  # gone, or on a file system without locks
                handle = os.open(folder, os.O_RDONLY)
                held.callback(os.close, handle)
                _lock(handle)
        yield


def _lock(handle: int) -> None:
    patience = time.monotonic() + _ALONE_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > patience:
                return None
        time.sleep(0.002)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. The lock is taken first: one who has read already cannot wait for it, only fail."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not what it wrote."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
        isinstance(error, sqlite3.OperationalError) and str(error) == "unsupported file format"
    )


def is_locked(error: Exception) -> bool:
    """Whether others hold the file, or are just opening it."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)


def _code(error: Exception) -> int | None:
    """SQLite's result code, without its details."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _import() -> None:
    """sqlite-utils is most of what `import tokentrace_core` would cost: so on the writer's thread, and before anybody
    waits for it."""
    with importing:
        import tokentrace_core.store.schema  # noqa: F401


def _connected(path: Path) -> sqlite3.Connection:
    return connections.connect(path, timeout=_LOCKED_S, check_same_thread=False)


def _prepared(path: Path, connection: sqlite3.Connection, durability: Durability) -> Database:
    """The file, with our tables in it."""
    from sqlite_utils import Database

    from tokentrace_core.store import schema

    if connections.key_of(path) is None:  # SQLCipher has pages of its own size
        connection.execute(f"pragma page_size = {_PAGE_BYTES}")  # of a new file; an old one keeps its own
    database = Database(connection)
    if newer := schema.unknown_migrations(database):
        raise ValueError(f"{path} is of a newer tokentrace (it has {newer[-1]}); upgrade this one")
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {durability}")
    if schema.migrations.pending(database):
        with transaction(connection):  # others who begin the same file find all of it, or nothing
            schema.migrations.apply(database)
    return database
