"""A trace file opened for reading: only one of ours, and of a time that this version knows; if need be, where nothing can
be written.

What a process has left open that is dead by now reads as `interrupted`, in every query of the connection.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlite_utils import Database

from tokentrace_core.errors import StoreError
from tokentrace_core.store import connection, schema


def located(path: str | Path) -> Path:
    """Where there is a file. Raises `StoreError`, with what there is instead."""
    if not str(path):
        raise StoreError("no file is named. Name one with --db or TOKENTRACE_DB.")
    try:
        located = Path(path).expanduser()
        found, folder = located.exists(), located.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if folder:
        raise StoreError(f"{path} is a directory. Name a file in it with --db or TOKENTRACE_DB.")
    if not found:
        raise StoreError(
            f"there is no file {located}. Name one with --db or TOKENTRACE_DB, or make one with `tokentrace demo`."
        )
    return located


def opened(path: Path) -> Database:
    """A connection that cannot write. Raises `StoreError`."""
    try:
        return _connected(path, "ro")
    except connection.WrongKey as error:
        raise StoreError(str(error)) from error
    except sqlite3.OperationalError as error:
        if not any(sign in str(error) for sign in ("unable to open", "readonly")):
            raise StoreError(f"{path} cannot be read: {error}") from error
        return _open_unchanging(path, error)
    except sqlite3.Error as error:
        if path.suffix == ".jsonl":
            raise StoreError(
                f"{path} is no database. Make one of it: tokentrace import {path} --db traces.db"
            ) from error
        if connection.looks_encrypted(path):
            raise StoreError(
                f"{path} is encrypted, it seems: set {connection.KEY_VARIABLE} to its key."
            ) from error
        raise StoreError(f"{path} cannot be read: {error}") from error


def _open_unchanging(path: Path, why: sqlite3.Error) -> Database:
    """Read a file where nothing can be written beside it: readers of a WAL file write an index, if they can.

    Only if all of the trace is in the file itself; then nobody is writing to it, and none is needed.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"{path} cannot be read where it is ({why}): its latest rows are in {log.name}, and reading those "
            f"needs a folder that can be written to. Copy {path.name} and {log.name} together to one."
        ) from why
    try:
        return _connected(path, "ro&immutable=1")
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}. May you read it? See: ls -l") from error


def _connected(path: Path, options: str) -> Database:
    database = Database(connection.connect(path, mode=options, timeout=5.0))
    try:
        _check(path, database)
        _read_the_dead_as_interrupted(database)
    except (StoreError, sqlite3.Error):
        database.close()
        raise
    return database


def _read_the_dead_as_interrupted(database: Database) -> None:
    """From here on what runs in a process that was killed reads `interrupted`, in every query of this connection.

    Temporary views stand in for the tables: until a writer opens the file, nobody may change the rows.
    """
    if not database.table("writers").exists():  # a file of an earlier version
        return
    for table in ("runs", "steps", "llm_calls", "tool_calls"):
        database.execute(
            f"create temp view {table} as select {as_of_now(database, table)} from main.{table} t"
        )


def as_of_now(database: Database, table: str) -> str:
    """SQL: the columns of a table (t), with the status, end and totals that its rows have by now."""
    now = schema.as_of_now(table, database.table("run_parts").exists())
    names = [column.name for column in database.table(table).columns]
    return ", ".join(f"{now[name]} as {name}" if name in now else f"t.{name}" for name in names)


def _check(path: Path, database: Database) -> None:
    """Refuse a file that is not ours, or of a time after ours."""
    known = database.table("_sqlite_migrations").exists() and database.table("runs").exists()
    newer = schema.unknown_migrations(database) if known else []
    if newer:
        raise StoreError(
            f"{path} was written by a newer tokentrace (it has {newer[-1]!r}). "
            "Upgrade with: pip install -U tokentrace"
        )
    if not known:
        raise StoreError(f"{path} is a SQLite file, but not one of tokentrace's: it has no runs in it.")
