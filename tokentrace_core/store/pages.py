"""The runs of a file in few long texts: what reading a hundred thousand of them costs is little more than their bytes.

SQLite itself puts the synopses of some thousand runs together as lines of JSON, and each other column as one array. Of a
large file it does so in a thread of its own, while the page before is read: it lets go of the interpreter's lock, but only
within one step. So a page is one row, and there are few.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tokentrace_core.store.reader import Reader

_LEAST, _UTMOST = -(2**63), 2**63 - 1
_IN_TIME = "started_at between :first and :last"

#: Runs in a line of JSON: as many as are decoded before the first of them leaves the processor's cache.
_LINE = 128
#: From so many runs on a second thread is worth its start.
_LARGE = 20_000
#: Places (of runs) in the first page, and in any; and bytes of synopses that a page should have.
_FIRST, _MOST, _BYTES = 2_000, 25_000, 8_000_000


class Asked(NamedTuple):
    """Which runs (r), and what of them."""

    condition: str
    parameters: dict[str, Any]
    columns: Sequence[str]
    """SQL."""
    since: int | None = None
    until: int | None = None
    """The runs began in this time: those of a short one are found by it. Else all are looked at, in their places."""


class Page(NamedTuple):
    """Some runs."""

    lines: list[bytes]
    """Arrays of synopses; null where there is none. Nobody has looked at them."""
    sizes: list[int]
    """How many runs each line is of. If there are not as many as lines, what is in the lines is no JSON."""
    has_all: bool
    """Whether each run has a synopsis."""
    ids: bytes
    columns: list[bytes]
    """Arrays in JSON."""


def pages(reader: Reader, asked: Asked) -> Iterator[Page]:
    """In the order of their places, or of the time if that is limited."""
    if not _is_large(reader, asked):
        yield from _made(reader, asked)
        return
    made = _made_beside(reader.path, asked)
    with ThreadPoolExecutor(1, "tokentrace-pages") as thread:
        try:
            ahead = thread.submit(next, made, None)
            while (page := ahead.result()) is not None:
                ahead = thread.submit(next, made, None)
                yield page
        finally:
            thread.submit(made.close).result()


def _is_large(reader: Reader, asked: Asked) -> bool:
    sql = f"select count(*) from (select 1 from main.runs where {_IN_TIME} limit {_LARGE})"
    [(runs,)] = reader.execute(sql, _time(asked))
    return bool(runs == _LARGE)


def _time(asked: Asked) -> dict[str, int]:
    """Its first and its last moment."""
    return {
        "first": _LEAST if asked.since is None else asked.since,
        "last": _UTMOST if asked.until is None else asked.until - 1,
    }


def _made_beside(path: Path, asked: Asked) -> Generator[Page]:
    with Reader(path) as reader:
        reader.execute("begin")  # all pages are of one moment
        yield from _made(reader, asked)


def _made(reader: Reader, asked: Asked) -> Iterator[Page]:
    by_place = asked.since is None and asked.until is None
    following, key = (_places, "place") if by_place else (_moments, "started_at")
    sql, time, size = _sql(reader, asked, key), _time(asked), _FIRST
    start = time["first"]
    while (span := following(reader, start, time["last"], size)) is not None:
        first, last = span
        try:
            [row] = reader.execute(sql, {**asked.parameters, "page_first": first, "page_last": last})
        except sqlite3.DataError:  # more than a text can hold
            if size == 1:
                raise
            start, size = first, max(size // 4, 1)
            continue
        made = row[0] or b""
        if row[1] is not None:
            yield _page(made, *row[1:])
        start = last + 1
        size = max(min(2 * size, _MOST, size * _BYTES // max(len(made), 1)), 1)


def _places(reader: Reader, start: int, last: int, size: int) -> tuple[int, int] | None:
    """The first and last place of the page that follows; there may be gaps between the places."""
    if start > last:
        return None
    [(first,)] = reader.execute("select min(rowid) from main.runs where rowid >= ?", [start])
    return None if first is None else (first, min(first + size - 1, last))


def _moments(reader: Reader, start: int, last: int, size: int) -> tuple[int, int] | None:
    """The same in time. What began at one moment is in one page."""
    if start > last:
        return None
    sql = f"select started_at from main.runs where {_IN_TIME} order by started_at limit 1 offset :size"
    beyond = next(reader.execute(sql, {"first": start, "last": last, "size": size}), None)
    return start, last if beyond is None else max(beyond[0] - 1, start)


def _sql(reader: Reader, asked: Asked, key: str) -> str:
    known = reader.columns("runs")
    synopsis = "r.synopsis" if "synopsis" in known else "null"
    arrays = ", ".join(f"cast(json_group_array({column}) as blob)" for column in ("r.id", *asked.columns))
    return f"""
        select cast(group_concat(coalesce({synopsis}, 'null'), iif(r.place % {_LINE}, ',', ']' || char(10) || '[')) as blob),
            group_concat(r.place % {_LINE} = 0, ''), count({synopsis}), {arrays}
        from ({reader.placed("runs")}) r
        where {asked.condition} and r.{key} between :page_first and :page_last
    """


def _page(texts: bytes, begins: str, found: int, ids: bytes, *columns: bytes) -> Page:
    """`begins`: for each run, whether it begins a line. (The first does so anyhow.)"""
    sizes = [len(rest) + 1 for rest in begins[1:].split("1")]
    lines = texts.split(b"\n")
    lines[0] = b"[" + lines[0]
    lines[-1] += b"]"
    return Page(lines, sizes, found == len(begins), ids, list(columns))
