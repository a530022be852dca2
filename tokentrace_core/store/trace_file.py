"""The writer's hold on its file: one connection, reopened when the path leads to another file than before.

Who deletes or replaces a trace that is being written would otherwise get a writer that fills a file nobody can
find. What was in the old file is gone; what comes goes where the path leads now.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

_KNOWN_IDS = 8_192
#: Short, so that a fork, and an exit, need not wait long for a locked file; the writer tries again.
_LOCKED_S = 0.5

Identity = tuple[int, int]


class TraceFile:
    """One file, open or not, and which contents (by their hash) it is known to have."""

    def __init__(self, path: Path) -> None:
        self._path = path
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
            self._database = _prepared(path)
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


def _prepared(path: Path) -> Database:
    """The file, with our tables in it."""
    # Imported on the writer's thread: sqlite-utils is most of what `import tokentrace_core` would cost.
    from sqlite_utils import Database

    from tokentrace_core.store import schema

    connection = sqlite3.connect(path, timeout=_LOCKED_S, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    database = Database(connection)
    if newer := schema.unknown_migrations(database):
        connection.close()
        raise ValueError(f"{path} is of a newer tokentrace (it has {newer[-1]}); upgrade this one")
    schema.migrations.apply(database)
    return database
