"""A team's own questions, asked with every audit: a folder of `*.sql` files, each one query on the trace file.

    -- Answers that nobody liked
    select c.run_id, c.id, s.value from scores s join calls c on c.id = s.span_id and c.run_id = s.run_id
    where s.name = 'liked' and s.value = 0 and c.started_at >= :since and c.started_at < :until

The comment on the first line is the title, else the file's name is. `:since` and `:until` are the audit's time, in microseconds. Queries run
on a connection that cannot write; one that fails says why, and the others go on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.errors import TokentraceError
from tokentrace_core.store.reader import Reader

#: More rows of one query are counted by nobody: it is a question, not an export.
MOST_ROWS = 1_000
#: Later than any call.
_NEVER = 2**62


@dataclass(frozen=True)
class Answer:
    """What one saved query found."""

    name: str
    title: str
    rows: tuple[dict[str, Any], ...]
    more: bool
    """Whether there are more rows than `MOST_ROWS`."""
    failure: str | None
    """Why it could not be asked."""


def saved_queries(folder: Path) -> dict[str, str]:
    """The queries of a folder, by name. Raises `TokentraceError` if there is no such folder, or none that can be read."""
    try:
        found = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.sql"))}
    except (OSError, UnicodeDecodeError) as error:
        raise TokentraceError(f"the saved queries in {folder} cannot be read: {error}") from error
    if not found:
        raise TokentraceError(f"there is no saved query in {folder}. Put one query into each NAME.sql there.")
    return found


def ask(reader: Reader, queries: dict[str, str], scope: Scope) -> Iterator[Answer]:
    """Each query's answer, for the time of the scope."""
    time = {"since": scope.since or 0, "until": _NEVER if scope.until is None else scope.until}
    for name, sql in queries.items():
        first = sql.strip().partition("\n")[0]
        title = first.lstrip("- ").strip() if first.startswith("--") else ""
        try:
            rows = _rows(reader, sql, time)
        except (sqlite3.Error, sqlite3.Warning) as error:
            yield Answer(name, title or name, (), False, str(error))
        else:
            yield Answer(name, title or name, rows[:MOST_ROWS], len(rows) > MOST_ROWS, None)


def _rows(reader: Reader, sql: str, time: dict[str, int]) -> tuple[dict[str, Any], ...]:
    answer: Any = reader.execute(sql, time)
    if answer.description is None:
        raise sqlite3.ProgrammingError("it is no query: it gives no rows")
    names = [column[0] for column in answer.description]
    return tuple(dict(zip(names, row, strict=True)) for row in islice(answer, MOST_ROWS + 1))
