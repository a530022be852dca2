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

#: What `cost` can group by: SQL over the view `calls` (c).
DIMENSIONS: dict[str, str] = {
    "model": "coalesce(c.model, '(unknown)')",
    "provider": "coalesce(c.provider, '(unknown)')",
    "user": "coalesce(c.user_id, '(none)')",
    "session": "c.session_id",
    "project": "coalesce(c.project, '(none)')",
    "run": "coalesce(c.run_id, c.gone)",
    "run-name": "c.run_name",
    "agent": "coalesce(c.agent, '(none)')",
    "step-name": "coalesce(c.step_name, '(none)')",
    "status": "c.status",
    "run-status": "c.run_status",
    "day": "c.day",
    "tool": "coalesce(t.name, c.gone, '(no tool)')",
}


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

    def cost(self, by: Sequence[str] = (), *, since: int | None = None) -> list[Row]:
        """What was spent, grouped by dimensions (keys of `DIMENSIONS`), dearest first.

        Each row: the dimensions, runs, calls, input_tokens, cached_tokens, output_tokens, cost_nano_usd,
        estimated_nano_usd (the part of it that rests on estimated usage), unpriced_calls, unpriced_tokens, estimated_calls. By
        "tool", a model call's cost is shared, to the nano-dollar, among the tools that were called in its
        step, and a tool's own cost is its own.

        Calls whose traces have gone by retention are in it, by their daily sums; what those do not tell is "(expired)".
        """
        groups = ", ".join(f'{DIMENSIONS[name]} as "{name}"' for name in by)
        order = ", ".join(f'"{name}"' for name in by)
        source = _BY_TOOL if "tool" in by else _PLAIN
        gone = f"union all {_EXPIRED}" if self.has_table("daily_costs") else ""
        return list(
            self.query(
                f"""
                {source}, a as (select {_KEPT} from c {gone})
                select {groups + "," if groups else ""} count(distinct c.run_id) + coalesce(sum(c.runs), 0) as runs,
                    count(distinct c.call_key) + coalesce(sum(c.calls), 0) as calls, coalesce(sum(c.input_tokens), 0) as input_tokens,
                    coalesce(sum(c.cached_tokens), 0) as cached_tokens,
                    coalesce(sum(c.output_tokens), 0) as output_tokens,
                    coalesce(sum(c.nano), 0) as cost_nano_usd,
                    coalesce(sum(case when c.usage_source = 'estimated' then c.nano end), 0)
                        + coalesce(sum(c.estimated_nano), 0) as estimated_nano_usd,
                    count(distinct case when c.cost_status = 'unpriced' then c.call_key end)
                        + coalesce(sum(c.unpriced), 0) as unpriced_calls,
                    coalesce(sum((c.cost_status = 'unpriced') * (c.input_tokens + c.output_tokens)), 0)
                        + coalesce(sum(c.unpriced_tokens), 0) as unpriced_tokens,
                    count(distinct case when c.usage_source = 'estimated' then c.call_key end)
                        + coalesce(sum(c.estimated), 0) as estimated_calls
                from a c {"left join tool_calls t on t.run_id = c.run_id and t.id = c.tool_id" if "tool" in by else ""}
                where c.started_at >= :since
                {"group by " + ", ".join(str(n + 1) for n in range(len(by))) if by else ""}
                order by cost_nano_usd desc{", " + order if order else ""}
                """,
                {"since": since or 0},
            )
        )

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


_FACTS = """k.run_id, k.session_id, k.user_id, k.project, k.run_name, k.run_status, k.agent, k.step_name, k.status,
    k.provider, k.model, k.day, k.started_at, k.run_id || k.id as call_key, k.cost_status, k.usage_source"""
#: What tools themselves cost joins the model calls as rows that are no calls.
_TOOLS_OWN = """
    select t.run_id, r.session_id, r.user_id, r.project, r.name, r.status, s.agent, s.name, t.status, '(tool)', '(tool)',
           date(t.started_at / 1000000, 'unixepoch'), t.started_at, null, null, null, 0, 0, 0,
           t.cost_nano_usd, t.id
    from tool_calls t join runs r on r.id = t.run_id
    left join steps s on s.run_id = t.run_id and s.id = t.step_id
    where t.cost_nano_usd is not null
"""
_PLAIN = f"""
    with c as (
        select {_FACTS}, k.input_tokens, k.cached_tokens, k.output_tokens, k.cost_nano_usd as nano,
               null as tool_id
        from calls k
        union all {_TOOLS_OWN}
    )
"""


_KEPT = """run_id, session_id, user_id, project, run_name, run_status, agent, step_name, status, provider, model, day,
    started_at, call_key, cost_status, usage_source, input_tokens, cached_tokens, output_tokens, nano, tool_id,
    null as gone, 0 as runs, 0 as calls, 0 as estimated_nano, 0 as unpriced, 0 as unpriced_tokens, 0 as estimated"""
#: What is known of calls whose traces have gone, in the same columns. A day's sum began with the day.
_EXPIRED = """
    select null, '(expired)', '(expired)', nullif(project, ''), '(expired)', run_status, '(expired)', '(expired)', status,
           nullif(provider, ''), nullif(model, ''), day, cast(strftime('%s', day) as integer) * 1000000, null, null,
           null, input_tokens, cached_tokens, output_tokens, cost_nano_usd, null, '(expired)', runs, calls,
           estimated_nano_usd, unpriced_calls, unpriced_tokens, estimated_calls
    from daily_costs
"""


def _share(column: str) -> str:
    """An equal part of a figure for each tool of the step; the remainder goes to the first ones, so nothing is lost."""
    return f"{column} / coalesce(s.tools, 1) + (coalesce(s.place, 1) <= {column} % coalesce(s.tools, 1))"


_BY_TOOL = f"""
    with shares as (
        select run_id, step_id, id as tool_id, row_number() over of_step as place, count(*) over in_step as tools
        from tool_calls
        window of_step as (partition by run_id, step_id order by id), in_step as (partition by run_id, step_id)
    ), c as (
        select {_FACTS}, {_share("k.input_tokens")} as input_tokens, {_share("k.cached_tokens")} as cached_tokens,
               {_share("k.output_tokens")} as output_tokens, {_share("k.cost_nano_usd")} as nano, s.tool_id
        from calls k left join shares s on s.run_id = k.run_id and s.step_id = k.step_id
        union all {_TOOLS_OWN}
    )
"""
