"""A copy of a trace file, made while others write, and put back without what was purged since.

`vacuum into` copies what the rows say and not the pages: nothing that was deleted is in it, and an encrypted file gives
a copy with the same key. The copy is checked before it counts as one, and the file remembers where it is, so that a purge
finds it.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from tokentrace_core.errors import StoreError
from tokentrace_core.store import audit
from tokentrace_core.store.connection import connect
from tokentrace_core.store.known_files import remember
from tokentrace_core.store.pieces import Tell
from tokentrace_core.store.purge import reapply
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.trace_file import beside, transaction
from tokentrace_core.store.upkeep import opened


def back_up(path: Path, to: Path) -> int:
    """Copy the file to a new one; its size in bytes. Raises `StoreError` if there is a file already."""
    to = to.expanduser().absolute()
    with opened(path) as connection:
        draft = beside(to, f".{os.getpid()}.part")
        _begin(draft, to)
        try:
            with transaction(connection):  # at first: also what a killed process leaves of it is to be found
                remember(connection, "backup", to)
            connection.execute("vacuum into ?", [str(draft)])
            _check(draft)
            draft.rename(to)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"no backup was made: {error}") from error
        finally:
            for end in ("", "-wal", "-shm", "-journal"):
                beside(draft, end).unlink(missing_ok=True)
        with transaction(connection):
            audit.note(connection, "backup", bytes=to.stat().st_size)
    return to.stat().st_size


def restore(backup: Path, path: Path, tell: Tell = lambda _: None) -> Counter[str]:
    """Copy a backup to where no file is, and delete again what was purged since: rows by table."""
    with Reader(backup) as reader:
        backup = reader.path
    path = path.expanduser().absolute()
    if left := [end for end in ("", "-wal", "-journal") if beside(path, end).exists()]:
        raise StoreError(
            f"there is a file {beside(path, left[0])} already: move it away first, if it is the one to replace."
        )
    draft = beside(path, f".{os.getpid()}.part")
    _begin(draft, path)
    try:
        with closing(connect(backup, mode="ro")) as connection:
            connection.execute("vacuum into ?", [str(draft)])
        _check(draft)
        _take_ledger(backup, path)
        # Before it has its name: a process that is killed, or one that writes, must not find it with what was purged.
        _take_ledger(path, draft)
        deleted = reapply(draft, tell)
        draft.rename(path)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{backup} was not put back: {error}") from error
    finally:
        for end in ("", "-wal", "-shm", "-journal", ".purged"):
            beside(draft, end).unlink(missing_ok=True)
    with opened(path) as connection, transaction(connection):
        audit.note(connection, "restore", purged_rows=deleted.total())
    return deleted


def _begin(draft: Path, to: Path) -> None:
    """An empty file that only its owner may read; SQLite takes it as it is."""
    if to.exists():
        raise StoreError(f"there is a file {to} already; name a new one.")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(f"{to} cannot be written: {error.strerror}") from error


def _check(copy: Path) -> None:
    with closing(connect(copy, mode="ro")) as connection:
        faults = [row[0] for row in connection.execute("pragma integrity_check(3)")]
    if faults != ["ok"]:
        raise StoreError(f"the copy is damaged, as the file may be: {'; '.join(faults)}")


def _take_ledger(of: Path, to: Path) -> None:
    """Purges that were noted beside one file hold for the other, too."""
    lines = beside(of, ".purged").read_bytes() if beside(of, ".purged").exists() else b""
    known = beside(to, ".purged").read_bytes() if beside(to, ".purged").exists() else b""
    if lines and lines != known:
        with os.fdopen(
            os.open(beside(to, ".purged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb"
        ) as file:
            file.write(lines)
            os.fsync(file.fileno())
