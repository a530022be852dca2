"""Who looked at what was said, and who changed or deleted something: rows that can only be added.

Triggers refuse to change or delete one, also to whoever opens the file with `sqlite3`. A row outlives what it tells
of, so it names a user or a run only as a keyed hash (`subjects`): who knows the name can find it again, by `audit-log`.
"""

from __future__ import annotations

import getpass
import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from tokentrace_core.store.connection import connect
from tokentrace_core.store.known_files import remember
from tokentrace_core.store.subjects import Subjects
from tokentrace_core.store.trace_file import transaction

log = logging.getLogger("tokentrace")

_PATIENCE_S = 2.0


def note(
    connection: sqlite3.Connection, action: str, *, of: tuple[str, str] | None = None, **detail: Any
) -> None:
    """Add a row, in the caller's transaction. `of`: ("user" or "run", its name); `detail`: figures, never names."""
    subject = f"{of[0]} {Subjects.of(connection).hash(*of)}" if of else None
    connection.execute(
        "insert into audit_log (at, actor, action, subject, detail) values (?, ?, ?, ?, ?)",
        [
            time.time_ns() // 1_000,
            _actor(),
            action,
            subject,
            msgspec.json.encode(detail).decode() if detail else None,
        ],
    )


def note_in(
    path: str | Path,
    action: str,
    *,
    of: tuple[str, str] | None = None,
    copy: Path | None = None,
    **detail: Any,
) -> bool:
    """Add a row to the log of a file. False, and a warning, where that cannot be: a file that is only to be read.

    `copy`: where an export was written, so that a purge looks into it and says if the user is still there.
    """
    try:
        with closing(connect(Path(path).expanduser(), mode="rw", timeout=_PATIENCE_S)) as connection:
            with transaction(connection):
                note(connection, action, of=of, **detail)
                if copy is not None:
                    remember(connection, "export", copy)
        return True
    except sqlite3.Error as error:
        log.warning("tokentrace: %s could not be noted in the audit log of %s: %s", action, path, error)
        return False


def _actor() -> str:
    """Who runs this process, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
