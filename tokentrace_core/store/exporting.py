"""All rows of a file that travel, in one order, as one moment has them: two exports of the same rows are the same bytes.

What is written may be read by its owner only.
"""

from __future__ import annotations

import csv
import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tokentrace_core.errors import MissingExtra
from tokentrace_core.store.reader import Reader, Row
from tokentrace_core.store.travelling import TABLES, columns_of, line_of

_GROUP = 10_000
#: What a spreadsheet takes for the beginning of a formula.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_TYPES = {"text": "string", "integer": "int64", "real": "float64", "float": "float64"}

Columns = dict[str, str]
"""Names and SQLite's types."""


def to_lines(reader: Reader, destination: Path | None) -> Counter[str]:
    """One file of lines, or stdout; how many rows, by table."""
    rows: Counter[str] = Counter()
    with _one_moment(reader):
        if destination is None:
            _write_lines(reader, sys.stdout, rows)
        else:
            with open(_made(destination), "w", encoding="utf-8", newline="\n") as file:
                _write_lines(reader, file, rows)
    return rows


def to_folder(reader: Reader, folder: Path, form: str) -> Counter[str]:
    """A folder with a file per table: "csv" or "parquet". Raises MissingExtra without pyarrow."""
    write: Callable[[Path, Columns, Iterable[Row]], int] = _write_csv
    if form == "parquet":
        _pyarrow()
        write = _write_parquet
    folder.mkdir(mode=0o700, parents=True)
    counts: Counter[str] = Counter()
    with _one_moment(reader):
        for table, columns, rows in _tables(reader):
            counts[table] = write(folder / f"{table}.{form}", columns, rows)
    return counts


def _tables(reader: Reader) -> Iterator[tuple[str, Columns, Iterator[Row]]]:
    """Each table with its columns and its rows."""
    for table, key in TABLES.items():
        # Of `main`: as it is stored, and not as it reads by now.
        types = dict(reader.execute("select name, lower(type) from pragma_table_info(?, 'main')", [table]))
        if not types:  # a file of an earlier version
            continue
        names = columns_of(table, types)
        rows = reader.query(f"select {', '.join(names)} from main.{table} order by {', '.join(key)}")
        yield table, {name: types[name] for name in names}, rows


@contextmanager
def _one_moment(reader: Reader) -> Iterator[None]:
    """Whatever others write meanwhile, this reader sees the file as it is now."""
    reader.execute("begin")
    try:
        yield
    finally:
        reader.execute("rollback")


def _write_lines(reader: Reader, file: IO[str], counts: Counter[str]) -> None:
    for table, _, rows in _tables(reader):
        for row in rows:
            file.write(line_of(table, row) + "\n")
            counts[table] += 1


def _write_csv(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    count = 0
    with open(_made(path), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([_harmless(value) for value in row.values()])
            count += 1
    return count


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _write_parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> int:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, _TYPES.get(kind, "string")) for name, kind in columns.items()])
    count, rest = 0, iter(rows)
    with open(_made(path), "wb") as file, parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rest, _GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("an export to Parquet", "pyarrow", "parquet") from error


def _made(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
