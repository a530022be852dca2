"""The writer's hold on its file: one connection, reopened when the path leads to another file than before.

Who deletes or replaces a trace that is being written would otherwise get a writer that fills a file nobody can
find. What was in the old file is gone; what comes goes where the path leads now. A file that is damaged is moved
aside, whole, and a new one begun: nobody's traces are thrown away to repair them.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tokentrace_core.store import connection as connections

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

_KNOWN_IDS = 8_192
#: Short, so that a fork, and an exit, need not wait long for a locked file; the writer tries again.
_LOCKED_S = 0.5

#: Rows are small or about 2 KB: on pages of the usual 4 KB, half of a file would be air.
_PAGE_BYTES = 2_048

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
        self._database: Database | None = None
        self._identities: dict[str, Identity | None] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    def open(self) -> Database:
        """The connection to the file that the path leads to now; created, with our tables, if there is none."""
        path = (
            self._path.expanduser()
        )  # a home that cannot be found says so here, and is not made as a folder
        if self._identities and _identity(path) != self._identities[""]:
            log.warning("tokentrace: %s was deleted or replaced; what comes now goes to the file there", path)
            self.close()
            self._remove_leftovers(path)
        if self._database is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
            file = _identity(path)
            database = _prepared(path, self._durability)
            with database.atomic():
                self._on_open(database.conn)
            self._database = database
            self._identities = {"": file} | {end: _identity(_beside(path, end)) for end in ("-wal", "-shm")}
        return self._database

    def close(self) -> None:
        """Let go of the file. Nothing is known of it any more: it may be another one next time."""
        self.forget()
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error:
                log.debug("tokentrace: the file did not close cleanly", exc_info=True)

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def move_aside(self, why: Exception) -> bool:
        """Keep a damaged file under another name, with its log. False if that cannot be done."""
        path = self._path.expanduser()
        self.close()
        self._identities = {}
        if connections.looks_encrypted(path):
            log.error(
                "tokentrace: %s is encrypted, it seems; set %s to its key", path, connections.KEY_VARIABLE
            )
            return False
        kept = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
        try:
            if kept.exists():  # moved a moment ago, and damaged again: this will not end well
                return False
            for end in ("-shm", "-wal", ""):
                if _beside(path, end).exists():
                    _beside(path, end).rename(_beside(kept, end))
        except OSError:
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

        Only if they are surely the old ones: by their inode, and unless somebody has begun a log for a new file.
        """
        before, self._identities = self._identities, {}
        ours = {end for end in ("-wal", "-shm") if _identity(_beside(path, end)) == before[end]}
        if "-wal" in ours or not path.exists():
            for end in ours:
                with suppress(OSError):
                    _beside(path, end).unlink(missing_ok=True)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _identity(path: Path) -> Identity | None:
    """Which file a path leads to: names can be given anew, inodes of an open file cannot."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not what it wrote."""
    return isinstance(error, sqlite3.DatabaseError) and any(
        sign in str(error) for sign in ("malformed", "not a database")
    )


def _prepared(path: Path, durability: Durability) -> Database:
    """The file, with our tables in it."""
    # Imported on the writer's thread: sqlite-utils is most of what `import tokentrace_core` would cost.
    from sqlite_utils import Database

    from tokentrace_core.store import schema

    connection = connections.connect(path, timeout=_LOCKED_S, check_same_thread=False)
    try:
        if connections.key_of(path) is None:  # SQLCipher has pages of its own size
            connection.execute(f"pragma page_size = {_PAGE_BYTES}")  # of a new file; an old one keeps its own
        connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {durability}")
        database = Database(connection)
        if newer := schema.unknown_migrations(database):
            raise ValueError(f"{path} is of a newer tokentrace (it has {newer[-1]}); upgrade this one")
        schema.migrations.apply(database)
    except BaseException:
        connection.close()
        raise
    return database
