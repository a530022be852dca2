"""The model calls and tool calls that an audit looks at, as it reads them: one flat row each, streamed.

A call belongs to a conversation: the loop of one agent in one run, told apart by the agent's name and by the tool call that
spawned it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from tokentrace_core.analysis.scope import Scope, Selection
from tokentrace_core.store.reader import Reader

_BATCH = 500
Key = tuple[str, str]
"""Run and call: ids are unique within their run."""
Talk = tuple[str | None, str | None]
"""Which conversation of a run."""


class Call(NamedTuple):
    """One model call."""

    run_id: str
    id: str
    model: str | None
    answered: str | None
    provider: str | None
    uncached: int
    read: int
    write_5m: int
    write_1h: int
    output: int
    reasoning: int
    cost: int | None
    """Nano-dollars; None: without a price."""
    cost_status: str | None
    price_version: str | None
    started_at: int
    ended_at: int | None
    status: str
    prompt_id: str | None
    tools_id: str | None
    tier: str | None
    agent: str | None
    spawned_by: str | None
    step_name: str | None
    agent_step: int | None
    run_name: str
    framework: str | None
    session_id: str

    @property
    def key(self) -> Key:
        return self.run_id, self.id

    @property
    def talk(self) -> Talk:
        return self.agent, self.spawned_by

    @property
    def prompt(self) -> int:
        """Tokens of the whole prompt."""
        return self.uncached + self.read + self.write_5m + self.write_1h

    @property
    def who(self) -> str:
        """The agent, as people call it."""
        return self.agent or self.run_name


class ToolUse(NamedTuple):
    """One tool call."""

    run_id: str
    id: str
    name: str
    arguments_hash: str | None
    result: str | None
    result_bytes: int | None
    status: str
    started_at: int
    asked_as: str | None
    """The id under which the model asked for it."""
    agent: str | None
    spawned_by: str | None

    @property
    def talk(self) -> Talk:
        return self.agent, self.spawned_by


_TIER = "case when {0} like '%service_tier%' and json_valid({0}) then json_extract({0}, '$.service_tier') end"
#: SQL of each field of `Call`, over the rows c, r and s.
CALL_COLUMNS = f"""
    c.run_id, c.id, c.model, c.model_answered, c.provider, coalesce(c.input_uncached_tokens, 0),
    coalesce(c.cache_read_tokens, 0), coalesce(c.cache_write_5m_tokens, 0), coalesce(c.cache_write_1h_tokens, 0),
    coalesce(c.output_tokens, 0), coalesce(c.reasoning_tokens, 0), c.cost_nano_usd, c.cost_status, c.price_version,
    c.started_at, c.ended_at, c.status, c.prompt_id, c.tools_id,
    coalesce({_TIER.format("c.attributes")}, {_TIER.format("c.params")}),
    s.agent, s.parent_call_id, s.name, s.agent_step, r.name, r.framework, r.session_id
"""
_TOOL_COLUMNS = """
    t.run_id, t.id, t.name, t.arguments_hash, t.result, t.result_bytes, t.status, t.started_at, t.tool_call_id, s.agent,
    s.parent_call_id
"""
#: Tokens of the prompt.
PROMPT = (
    "(coalesce(c.input_uncached_tokens, 0) + coalesce(c.cache_read_tokens, 0)"
    " + coalesce(c.cache_write_5m_tokens, 0) + coalesce(c.cache_write_1h_tokens, 0))"
)
#: Tokens of the prompt that were paid as new: not read from the provider's cache.
FRESH = "coalesce(c.input_uncached_tokens, 0) + coalesce(c.cache_write_5m_tokens, 0) + coalesce(c.cache_write_1h_tokens, 0)"


class Trace:
    """What the scope of an audit leaves to look at, in one file."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self.reader, self.scope = reader, scope

    def calls(
        self, condition: str = "true", order: str = "c.run_id, c.started_at, c.id", **parameters: Any
    ) -> Iterator[Call]:
        """Model calls, streamed."""
        selection = self.scope.calls()
        sql = f"select {CALL_COLUMNS} {selection.sql} and ({condition}) order by {order}"
        return map(Call._make, self.rows(sql, selection.parameters | parameters))

    def calls_and(self, column: str, condition: str) -> Iterator[tuple[Call, Any]]:
        """Model calls, each with one more column."""
        sql = f"select {column}, {CALL_COLUMNS} {self.scope.calls().sql} and ({condition})"
        return ((Call._make(row[1:]), row[0]) for row in self.rows(sql, self.scope.calls().parameters))

    def has_column(self, table: str, column: str) -> bool:
        """Files of earlier versions have fewer."""
        return any(row[1] == column for row in self.rows(f"pragma main.table_info({table})"))

    def runs(self, run_ids: Sequence[str]) -> Iterator[tuple[list[Call], list[ToolUse]]]:
        """Model calls and tool calls of these runs, run by run."""
        for some in batches(run_ids):
            calls = self._by_run(Call, CALL_COLUMNS, "c", self.scope.calls(), some)
            tools = self._by_run(ToolUse, _TOOL_COLUMNS, "t", self.scope.tools(), some)
            yield from ((calls.get(run_id, []), tools.get(run_id, [])) for run_id in some)

    def tools_of(self, run_id: str) -> list[ToolUse]:
        """All tool calls of a run, in the order in which they were made."""
        return self._by_run(ToolUse, _TOOL_COLUMNS, "t", self.scope.tools(), [run_id]).get(run_id, [])

    def runs_with(self, what: str, condition: str, rest: str = "") -> list[str]:
        """Runs that have such "calls" or "tools", oldest first. `rest`: a `group by` with its `having`."""
        row = "c" if what == "calls" else "t"
        selection = self.alone(what)
        found = self.rows(
            f"select distinct {row}.run_id {selection.sql} and ({condition}) {rest}", selection.parameters
        )
        return sorted(run_id for (run_id,) in found)

    def alone(self, what: str) -> Selection:
        """ "calls" or "tools" without their runs and steps, where the scope needs none to choose them: a quarter of the time."""
        whole = self.scope.calls() if what == "calls" else self.scope.tools()
        if self.scope.where:
            return whole
        return whole._replace(source="from llm_calls c" if what == "calls" else "from tool_calls t")

    def rows(self, sql: str, parameters: Any = ()) -> Iterator[tuple[Any, ...]]:
        """The answer to a query as plain tuples."""
        return self.reader.execute(sql, parameters)

    def _by_run(
        self, kind: Any, columns: str, row: str, selection: Selection, run_ids: Sequence[str]
    ) -> dict[str, list[Any]]:
        these = f"{row}.run_id in (select value from json_each(:runs))"
        sql = (
            f"select {columns} {selection.sql} and {these} order by {row}.run_id, {row}.started_at, {row}.id"
        )
        found = self.rows(sql, selection.parameters | {"runs": json.dumps(run_ids)})
        made = map(kind._make, found)
        return {run_id: list(rows) for run_id, rows in groupby(made, attrgetter("run_id"))}


Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int = _BATCH) -> Iterator[list[Item]]:
    """So many at a time as are read with one query."""
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some
