"""A trace file opened for work on it (purge, retention, backup) by somebody who is not its writer.

Others may write to it at the same time: work is done in short transactions, and waits for theirs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokentrace_core.errors import StoreError
from tokentrace_core.store.lease import Lease
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.trace_file import TraceFile, is_locked, transaction

_PATIENCE_MS = 60_000
_OPEN_PATIENCE_MS = 10_000


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that overwrites what it deletes. Raises `StoreError` if there is no file of ours there."""
    with Reader(path) as reader:
        path = reader.path
    lease = Lease()
    file = TraceFile(path, lease.take)
    try:
        connection = _open(file)
        connection.execute(f"pragma busy_timeout = {_PATIENCE_MS}")
        connection.execute("pragma secure_delete = on")
        yield connection
        with transaction(connection):
            lease.end(connection)
    finally:
        file.close()


def _open(file: TraceFile) -> sqlite3.Connection:
    patience = _OPEN_PATIENCE_MS // 500
    while True:
        try:
            connection: sqlite3.Connection = file.open().conn
            return connection
        except sqlite3.OperationalError as error:  # each try waits for half a second
            patience -= 1
            if not is_locked(error) or not patience:
                raise StoreError(f"the file cannot be written: {error}") from error
        except ValueError as error:
            raise StoreError(str(error)) from error
