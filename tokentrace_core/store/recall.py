"""A run that waits for a human, as another process left it in the file: it goes on here when the answer comes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from tokentrace_core.spans import Run
from tokentrace_core.store.connection import connect
from tokentrace_core.store.rows import STATEMENTS

_PATIENCE_S = 0.05


def recall(path: Path, session_id: str) -> Run | None:
    """The run of this session that waits; None if there is none, or no file that could be read at once."""
    try:
        with closing(connect(path, mode="ro", timeout=_PATIENCE_S)) as connection:
            return _waiting_run(connection, session_id)
    except (sqlite3.Error, ValueError):  # no file yet, or no path that could be one
        return None


def _waiting_run(connection: sqlite3.Connection, session_id: str) -> Run | None:
    """The latest run of a session, as a span again, if it waits. Its texts stay as they are in the file."""
    names = [name for name in STATEMENTS[Run].columns if name not in _TEXTS_OF_RUN]
    row = connection.execute(
        f"select {', '.join(names)} from runs where session_id = ? order by started_at desc limit 1",
        [session_id],
    ).fetchone()
    if row is None:
        return None
    facts = dict(zip(names, row, strict=True))
    if facts["status"] != "waiting":
        return None
    decoded = {name: msgspec.json.decode(facts.pop(name) or default) for name, default in _JSON_OF_RUN}
    return Run(run_id=facts["id"], **facts, **decoded)


_TEXTS_OF_RUN = frozenset({"input", "output", "error"})
_JSON_OF_RUN = (("tags", "[]"), ("attributes", "{}"))
