"""Another key for a trace file, or its first one, or none any more.

The file is copied with the new key, the copy is checked, and takes the place of the file by one rename: whatever happens
in between, one of the two keys opens the whole file. Nobody else may have it open: SQLite's log lies beside a file by
name, and would be read by the wrong one. So the log is put away first, which only works for who is alone.

The old file is overwritten before it goes. Where a file system writes elsewhere than it is told (SSDs, snapshots), and
where the process is killed right then, its bytes may still be on the disk: encrypt a file from its beginning.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from tokentrace_core.errors import StoreError
from tokentrace_core.store import audit
from tokentrace_core.store.connection import connect, copy_with_key, for_new_key, use_key
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.trace_file import beside, is_locked, transaction

_PATIENCE_S = 5.0
_CHUNK = 1 << 20


def rekey(path: Path, new_key: str | None) -> None:
    """Encrypt the file with this key, or with none, from the one that it is opened with now."""
    with Reader(path) as reader:
        path = reader.path.resolve()
    draft = beside(path, ".rekey")
    for end in ("", "-wal", "-shm", "-journal"):  # of one that was killed
        beside(draft, end).unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(for_new_key(path, timeout=_PATIENCE_S, isolation_level=None)) as connection:
            _be_alone(connection, path)
            copy_with_key(connection, draft, new_key)
            with closing(connect(draft, mode="rw", key=new_key or "")) as copy:
                faults = [row[0] for row in copy.execute("pragma integrity_check(3)")]
                if faults != ["ok"]:
                    raise StoreError(
                        f"the copy with the new key is damaged: {'; '.join(faults)}; the file is as it was."
                    )
                with transaction(copy):
                    audit.note(copy, "key changed" if new_key else "key removed")
            _sync(draft)
            with path.open("r+b") as old:
                draft.replace(path)  # still alone: a process that opens it now finds the new one
                _sync(path.parent)
                _overwrite(old)
    except sqlite3.Error as error:
        raise StoreError(f"{path} is as it was: {error}") from error
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            beside(draft, end).unlink(missing_ok=True)
    use_key(path, new_key)


def _be_alone(connection: sqlite3.Connection, path: Path) -> None:
    """Without a log beside the file, and with a lock that nobody else passes."""
    patience = time.monotonic() + _PATIENCE_S
    while True:
        try:
            if connection.execute("pragma journal_mode = delete").fetchone()[0] == "delete":
                break
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
        if time.monotonic() > patience:
            raise StoreError(
                f"{path} is open in another process: end all that write to it or read it, and try again."
            )
        time.sleep(0.1)
    connection.execute("pragma locking_mode = exclusive")
    connection.execute("begin exclusive")
    connection.execute("commit")  # in this mode the lock is kept


def _overwrite(file: BinaryIO) -> None:
    """What was written under the old key, or without one, is not to be found on the disk by who has no file of it."""
    size = os.fstat(file.fileno()).st_size
    for _ in range(0, size, _CHUNK):
        file.write(b"\0" * min(_CHUNK, size - file.tell()))
    file.flush()
    os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
