"""One page of runs, read at once: a JSON text per table, made by SQLite, and put together here.

So no row is handed over singly, and nothing is joined a million times: a call finds its step and its run in a list.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from tokentrace_core.analysis.audit.calls import BEGINNING, NO_STEP, Call, Page, Run, Step, ToolUse
from tokentrace_core.analysis.audit.nodes import Node, NodeRow, nodes_of
from tokentrace_core.analysis.audit.prompts import Skeletons
from tokentrace_core.analysis.scope import Scope, Selection
from tokentrace_core.store.reader import Reader

Wanted = Callable[[Call], object]
"""Whether the prompt of a call is to be read."""

_OF_PAGE = "from json_each(:page) p cross join"
_STEP = "p.key, s.id, s.agent, s.name, s.agent_step, s.parent_call_id"
_TIER = (
    "case when instr({0}, 'service_tier') and json_valid({0}) then json_extract({0}, '$.service_tier') end"
)
_PROMPT = [
    f"coalesce(c.{part}, 0)"
    for part in (
        "input_uncached_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
    )
]
#: SQL of the fields of `Call`, over the rows p and c.
_CALL = f"""p.key, c.id, c.step_id, c.model, c.model_answered, c.provider, {", ".join(_PROMPT)}, {" + ".join(_PROMPT)},
    coalesce(c.output_tokens, 0), coalesce(c.reasoning_tokens, 0), c.cost_nano_usd, c.cost_status, c.started_at, c.ended_at,
    c.status, c.prompt_id, c.tools_id,
    cast(coalesce({_TIER.format("c.attributes")}, {_TIER.format("c.params")}) as text), c.stop_reason,
    coalesce(c.usage_source = 'estimated', 0), coalesce(c.kind = 'chat', 0)"""
_NOTED = "c.filler_ppm, case when c.filler_ppm is null then c.output_id end"
_NOT_NOTED = "null, c.output_id"
_TOOL = f"""p.key, t.id, t.step_id, coalesce(t.name, ''), t.arguments_hash, substr(t.result, 1, {BEGINNING}), t.result_bytes,
    t.status, t.started_at, t.tool_call_id"""
_NODES = "from json_each(:ids) j cross join prompts p on p.id = j.value"
_OF_MESSAGE = "(select m.{0} from messages m where m.id = p.message_id)"

#: A value that is not as it was recorded, one that JSON has not, more than a text can hold.
_NOT_AS_ONE = (msgspec.ValidationError, sqlite3.OperationalError, sqlite3.DataError)

Item = TypeVar("Item")
_when = attrgetter("place", "started_at", "id")


def read_page(
    reader: Reader, scope: Scope, runs: Sequence[Run], wanted: Wanted, skeletons: Skeletons
) -> Page:
    """These runs with what of them is in the scope."""
    page = {"page": _array(run.id for run in runs)}
    noted = _NOTED if "filler_ppm" in reader.columns("llm_calls") else _NOT_NOTED
    steps = read_rows(reader, Step, _STEP, f"{_OF_PAGE} main.steps s on s.run_id = p.value", page)
    calls = read_rows(reader, Call, f"{_CALL}, {noted}", *_of_page(scope.calls(), "c", scope, page))
    tools = read_rows(reader, ToolUse, _TOOL, *_of_page(scope.tools(), "t", scope, page))
    nodes = _nodes(reader, (call.prompt_id for call in calls if call.prompt_id and wanted(call)), skeletons)
    return _put_together(runs, steps, calls, tools, nodes)


def _of_page(
    selection: Selection, row: str, scope: Scope, page: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Of the page's runs the rows that are in the scope."""
    source = selection.source if scope.where else selection.source.partition(" join ")[0]
    table = source.removeprefix("from ")
    sql = f"{_OF_PAGE} {table} where {row}.run_id = p.value and {selection.condition}"
    return sql, selection.parameters | page


def read_rows(
    reader: Reader, kind: type[Item], columns: str, source: str, parameters: dict[str, Any]
) -> list[Item]:
    """Rows of a query, as one JSON text if that can be. A row that no recorder writes is left out."""
    try:
        sql = f"select json_group_array(json_array({columns})) {source}"
        return msgspec.json.decode(next(reader.execute(sql, parameters))[0], type=list[kind])  # type: ignore[valid-type]
    except _NOT_AS_ONE:
        rows = reader.execute(f"select {columns} {source}", parameters)
        return [made for row in rows for made in _row(row, kind)]


def _row(row: Sequence[Any], kind: type[Item]) -> list[Item]:
    try:
        return [msgspec.convert(row, kind)]
    except msgspec.ValidationError:
        return []


def _nodes(reader: Reader, prompt_ids: Iterable[str], skeletons: Skeletons) -> dict[str, Node]:
    """The prompts with all that is above them: whatever leads to nodes that are not known yet is asked for next."""
    columns = _node_columns("bytes" in reader.columns("prompts"))
    rows: dict[str, NodeRow] = {}
    wanted = set(prompt_ids)
    while wanted:
        found = read_rows(reader, NodeRow, columns, _NODES, {"ids": _array(wanted)})
        rows.update((row.id, row) for row in found)
        wanted = {row.parent_id for row in found if row.parent_id is not None and row.parent_id not in rows}
    return nodes_of(rows.values(), skeletons.of)


def _node_columns(told: bool) -> str:
    """`told`: whether prompts tell role and size of their message. Those that an earlier version wrote do not."""
    role, size = (
        f"coalesce(p.{name}, {_OF_MESSAGE.format(name)})" if told else _OF_MESSAGE.format(name)
        for name in ("role", "bytes")
    )
    return f"p.id, p.parent_id, p.message_id, {role}, coalesce({size}, 0), p.depth"


def _array(ids: Iterable[str]) -> str:
    """For SQLite's `json_each`."""
    return msgspec.json.encode(list(ids)).decode()


def _put_together(
    runs: Sequence[Run], steps: list[Step], calls: list[Call], tools: list[ToolUse], nodes: dict[str, Node]
) -> Page:
    steps_of: list[dict[str | None, Step]] = [{} for _ in runs]
    for step in steps:
        steps_of[step.place][step.id] = step
    for call in calls:
        run = call.run = runs[call.place]
        found = steps_of[call.place].get(call.step_id)
        if found is None:
            call.who = run.name
        else:
            call.step, call.who = found, found.agent or run.name
        if call.prompt_id is not None:
            call.leaf = nodes.get(call.prompt_id)
    for tool in tools:
        tool.run = runs[tool.place]
        tool.step = steps_of[tool.place].get(tool.step_id, NO_STEP)
    calls.sort(key=_when)
    tools.sort(key=_when)
    return Page(runs, calls, tools)
