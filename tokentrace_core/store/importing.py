"""Lines into a file: rows of another one, or of a tracer that wrote lines. May be repeated, and done in any order.

A row that is there already is brought up to date, but never back: what has ended stays so. Of a run that two files
know, the row of the process that began it stands; its parts join it, and its totals are made from all of its rows.
What belongs to somebody who was purged from this file does not come back.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokentrace_core.errors import StoreError
from tokentrace_core.spans import Session
from tokentrace_core.store import audit, summary
from tokentrace_core.store.deletions import Deletions
from tokentrace_core.store.parts import reckon, with_parts
from tokentrace_core.store.trace_file import TraceFile, transaction
from tokentrace_core.store.travelling import TABLES, columns_of

_BATCH = 1_000
#: Is not told again by who goes on with a run: see `rows`.
_KEPT = frozenset({"input", "output", "reasoning"})
#: What has ended stays so, and what was repriced here.
_ENDED = (
    "((excluded.ended_at is not null or {0}.ended_at is null)"
    " and not exists (select 1 from repriced_calls c where c.run_id = {0}.{1}))"
)
#: When a row that is there gives way; for tables not named here: never.
_GIVES_WAY = {
    "sessions": "true",
    "runs": "case when excluded.begun_elsewhere is null and runs.begun_elsewhere is not null then true"
    f" when excluded.begun_elsewhere is not null and runs.begun_elsewhere is null then false else {_ENDED.format('runs', 'id')} end",
    **{table: _ENDED.format(table, "run_id") for table in ("run_parts", "steps", "llm_calls", "tool_calls")},
    "scores": "true",
}

Row = dict[str, Any]


class Import:
    """Into one file, which is made if there is none. `rows` counts what was taken, by table."""

    def __init__(self, path: Path) -> None:
        self.rows: Counter[str] = Counter()
        self.broken = 0
        """Lines that are no row."""
        self.purged = 0
        """Rows of somebody who was purged."""
        self._file = TraceFile(path)
        self._path = path
        self._deletions = Deletions()
        self._sql: dict[str, tuple[list[str], str]] = {}

    def take(self, lines: Iterable[bytes]) -> None:
        """Take in all lines. Raises `StoreError` if the file cannot be written."""
        try:
            file = self._file.open().conn
            rest = iter(lines)
            while batch := list(islice(rest, _BATCH)):
                with transaction(file):
                    self._take(file, batch)
            with transaction(file):
                audit.note(file, "import", rows=self.rows.total())
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreError(f"{self._path} cannot be written: {error}") from error
        finally:
            self._file.close()

    def _take(self, file: sqlite3.Connection, lines: list[bytes]) -> None:
        self._deletions.look(file, self._file)
        touched: set[str] = set()
        for table, row in self._read(lines):
            if self._deletions.refuse(file, _belongs(table, row)):
                self.purged += 1
                continue
            names, sql = self._statement(file, table)
            try:
                file.execute(sql, [row.get(name) for name in names])
            except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError):
                self.broken += 1  # a value that no such column has
                continue
            if table in ("messages", "prompts"):
                self._deletions.note(file, row["id"])
            self.rows[table] += 1
            run_id = row["id"] if table == "runs" else row.get("run_id")
            if run_id:
                touched.add(run_id)
        for run_id in with_parts(file, touched):
            reckon(file, run_id)
        summary.renew(file, touched)

    def _read(self, lines: list[bytes]) -> Iterator[tuple[str, Row]]:
        for line in lines:
            if not line.strip():
                continue
            row = _row(line)
            if row is None:
                self.broken += 1
            else:
                yield row.pop("table"), row

    def _statement(self, file: sqlite3.Connection, table: str) -> tuple[list[str], str]:
        found = self._sql.get(table)
        if found is None:
            known = [row[0] for row in file.execute("select name from pragma_table_info(?)", [table])]
            names = columns_of(table, known)
            found = self._sql[table] = names, _upsert(table, names)
        return found


def _row(line: bytes) -> Row | None:
    """A line as a row of one of our tables; None if it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not isinstance(table := row.get("table"), str) or table not in TABLES:
        return None
    whole = all(isinstance(row.get(name), str) for name in TABLES[table])
    plain = all(value is None or isinstance(value, (str, int, float)) for value in row.values())
    return row if whole and plain else None


def _upsert(table: str, names: list[str]) -> str:
    key, gives_way = TABLES[table], _GIVES_WAY.get(table)
    updates = [
        f"{name} = coalesce(excluded.{name}, {table}.{name})"
        if name in _KEPT
        else f"{name} = excluded.{name}"
        for name in names
        if name not in key
    ]
    then = f"update set {', '.join(updates)} where {gives_way}" if gives_way else "nothing"
    return (
        f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})"
        f" on conflict ({', '.join(key)}) do {then}"
    )


def _belongs(table: str, row: Row) -> object:
    """Whose it is, in the form in which the writer asks."""
    if table == "sessions":
        at = row.get("started_at")
        return Session(id=row["id"], started_at=at if isinstance(at, int) else 0)
    return SimpleNamespace(run_id=row["id"] if table == "runs" else row.get("run_id"))
