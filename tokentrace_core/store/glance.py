"""One short look into a trace file, by a process that writes to it: on a connection of its own, and without waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tokentrace_core.store.connection import connect

T = TypeVar("T")

_PATIENCE_S = 0.05


def glance(path: Path, ask: Callable[[sqlite3.Connection], T | None]) -> T | None:
    """What the file answers; None if it cannot be read at once, or if it is not there."""
    try:
        with closing(connect(path, mode="ro", timeout=_PATIENCE_S)) as connection:
            return ask(connection)
    except (sqlite3.Error, ValueError):  # no file yet, or no path that could be one
        return None
