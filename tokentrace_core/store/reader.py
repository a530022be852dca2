"""Reading a trace file: a read-only connection, and the few questions that every report asks.

Rows come back as plain dicts, money as integer nano-dollars.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tokentrace_core.errors import UnknownRun
from tokentrace_core.store.opening import as_of_now, located, opened

Row = dict[str, Any]

#: The widest integer SQLite knows.
_WIDEST = 2**63 - 1


class Reader:
    """A trace file, opened for reading. Use as a context manager, or `close()` it."""

    def __init__(self, path: str | Path) -> None:
        self.path = located(path)
        self._database = opened(self.path)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def has_table(self, name: str) -> bool:
        """Files of earlier versions have fewer."""
        return self._database.table(name).exists()

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Iterator[Row]:
        return self._database.query(sql, parameters)  # type: ignore[arg-type]

    def execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """As `query`, with plain tuples: for millions of rows."""
        return iter(self._database.execute(sql, parameters))  # type: ignore[arg-type]

    def columns(self, table: str) -> frozenset[str]:
        """Files of earlier versions have fewer."""
        return frozenset(column.name for column in self._database.table(table).columns)

    def placed(self, table: str) -> str:
        """SQL: its rows as they are now, each with its `place` in the file."""
        is_new = self.has_table("writers")
        columns = as_of_now(self._database, table) if is_new else "t.*"
        return f"select t.rowid as place, {columns} from main.{table} t"

    def runs(self, limit: int = 20, *, since: int | None = None) -> list[Row]:
        """The latest runs with their totals, newest first. `since`: microseconds since the epoch."""
        return list(
            self.query(
                "select * from runs where started_at >= ? order by started_at desc, id desc limit ?",
                [since or 0, min(limit, _WIDEST)],
            )
        )

    def run(self, reference: str) -> Row:
        """One run by its id, the start or the end of it, or "last". Raises `UnknownRun`."""
        sought = reference.lower()
        found = self.runs(1) if sought == "last" else list(self._runs_like(sought))
        if not found:
            raise UnknownRun(f"no run {reference!r} in {self.path}. `tokentrace runs` lists the latest.")
        if len(found) > 1 and found[0]["id"] != sought:
            raise UnknownRun(f"{reference!r} is the id of more than one run in {self.path}; give more of it.")
        return found[0]

    def _runs_like(self, part: str) -> Iterator[Row]:
        """Runs whose id is this, or starts or ends with it; at most two, the one with just this id first."""
        return self.query(
            "select * from runs where :part != '' and (substr(id, 1, length(:part)) = :part"
            " or substr(id, -length(:part)) = :part) order by id = :part desc limit 2",
            {"part": part},
        )

    def steps(self, run_id: str) -> list[Row]:
        return list(self.query("select * from steps where run_id = ? order by number", [run_id]))

    def llm_calls(self, run_id: str) -> list[Row]:
        return list(self.query("select * from llm_calls where run_id = ? order by started_at, id", [run_id]))

    def tool_calls(self, run_id: str) -> list[Row]:
        return list(self.query("select * from tool_calls where run_id = ? order by started_at, id", [run_id]))

    def messages(self, prompt_id: str | None) -> list[Row]:
        """The messages of a prompt, first to last: {"id", "role", "body", "bytes"}, `body` decoded."""
        rows = self.query(
            """
            with recursive path(parent_id, message_id, depth) as (
                select parent_id, message_id, depth from prompts where id = ?
                union all
                select p.parent_id, p.message_id, p.depth from prompts p join path on p.id = path.parent_id
            )
            select m.* from path join messages m on m.id = path.message_id order by path.depth
            """,
            [prompt_id],
        )
        return [{**row, "body": msgspec.json.decode(row["body"])} for row in rows]

    def message(self, message_id: str | None) -> Any:
        """One stored message, decoded; None if there is none."""
        rows = self.query("select body from messages where id = ?", [message_id])
        return next((msgspec.json.decode(row["body"]) for row in rows), None)

    def unpriced_models(self) -> list[Row]:
        """The models whose calls have no price: {model, provider, calls, input_tokens, output_tokens}."""
        return list(
            self.query(
                """
                select coalesce(model, '(unknown)') as model, provider, count(*) as calls,
                       sum(input_tokens) as input_tokens, sum(output_tokens) as output_tokens
                from calls where cost_status = 'unpriced'
                group by 1, 2 order by calls desc, model, provider
                """
            )
        )

    def losses(self, *, since: int | None = None) -> list[Row]:
        """What its writers could not store, most first: {reason, records, at}. `at`: when that was last so."""
        if not self._database.table("losses").exists():  # a file of an earlier version
            return []
        return list(
            self.query(
                """
                select reason, sum(records) as records, max(at) as at from losses
                where records > 0 and at >= ? group by reason order by records desc, reason
                """,
                [since or 0],
            )
        )

    def last_row(self, table: str) -> int:
        """Where a table ends now: the place to follow it from."""
        return int(next(self.query(f"select coalesce(max(rowid), 0) as last from main.{table}"))["last"])

    def open_rows(self, table: str) -> dict[int, str]:
        """Rows that can still change, with their status."""
        open_now = self.query(
            f"select rowid as row, status from main.{table} where status in ('running', 'waiting')"
        )
        return {found["row"]: found["status"] for found in open_now}

    def rows_since(self, table: str, last: int, watched: Sequence[int] = ()) -> list[Row]:
        """Rows that were added after `last`, and the `watched` ones as they are now.

        Each with `row`, its place. Followed by place and not by time: what another process writes late, or
        with a clock of its own, is not missed.
        """
        return list(
            self.query(
                f"select t.rowid as row, {as_of_now(self._database, table)} from main.{table} t"
                " where t.rowid > ? or t.rowid in (select value from json_each(?)) order by t.rowid",
                [last, json.dumps(list(watched))],
            )
        )
