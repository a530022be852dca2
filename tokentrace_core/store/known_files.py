"""Files besides the trace in which users are named: the trace file knows where they are, so that a purge finds them."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Literal

from tokentrace_core.store.errand import Errand

Kind = Literal["backup", "export", "log"]


def remember(connection: sqlite3.Connection, kind: Kind, path: Path) -> None:
    """Note where it is, in the caller's transaction."""
    where = str(path.expanduser().absolute())
    connection.execute(
        "insert or replace into copies values (?, ?, ?)", [where, kind, time.time_ns() // 1_000]
    )


class Remembering(Errand):
    """The same, by the writer."""

    __slots__ = ("_kind", "_path")

    def __init__(self, kind: Kind, path: Path) -> None:
        self._kind: Kind = kind
        self._path = path

    def write(self, connection: sqlite3.Connection) -> None:
        remember(connection, self._kind, self._path)
