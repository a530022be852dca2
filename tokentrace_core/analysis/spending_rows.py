"""What was spent, from the rows themselves: for dimensions that no synopsis has, such as attributes and single steps."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tokentrace_core.analysis import dimensions
from tokentrace_core.analysis.dimensions import ATTRIBUTE, NO_TOOL, NONE, STEP, TAG, TIMES, TOOL
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import Key, Spent
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import OWN_COST

_INPUT = (
    "coalesce(c.input_uncached_tokens, 0) + coalesce(c.cache_read_tokens, 0)"
    " + coalesce(c.cache_write_5m_tokens, 0) + coalesce(c.cache_write_1h_tokens, 0)"
)
#: A model call's tools, each with its place among those of the step.
_SHARES = """
    shares as (
        select run_id, step_id, name, row_number() over of_step as place, count(*) over in_step as tools
        from main.tool_calls
        window of_step as (partition by run_id, step_id order by id), in_step as (partition by run_id, step_id)
    ),
"""
_FIGURES = """
    count(distinct run_id) as runs, count(distinct call_key) as calls, coalesce(sum(input_tokens), 0),
    coalesce(sum(cached_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(nano), 0),
    coalesce(sum(case when usage_source = 'estimated' then nano end), 0),
    count(distinct case when cost_status = 'unpriced' then call_key end),
    coalesce(sum((cost_status = 'unpriced') * (input_tokens + output_tokens)), 0),
    count(distinct case when usage_source = 'estimated' then call_key end)
"""


class Summing:
    """One query for the groups, one for the total: a run or call that is in two groups is once in it."""

    def __init__(self, names: tuple[str, ...], scope: Scope) -> None:
        self._names, self._scope = names, scope

    def of(self, reader: Reader) -> tuple[dict[Key, Spent], Spent]:
        groups = self._asked(reader, self._names) if self._names else []
        total = self._asked(reader, ())
        return {spent.key: spent for spent in groups}, total[0]

    def _asked(self, reader: Reader, names: tuple[str, ...]) -> list[Spent]:
        rows = [self._calls(names), self._tools(names)]
        sources = " union all ".join(sql for sql, _ in rows)
        parameters = rows[0][1] | rows[1][1]
        keys = ", ".join(f"key_{place}" for place in range(len(names)))
        sql = f"""
            with {_SHARES if self._shares(names) else ""} a as ({sources})
            select {keys + ", " if keys else ""}{_FIGURES} from a {"group by " + keys if keys else ""}
        """
        return [Spent(row[: len(names)], *row[len(names) :]) for row in reader.execute(sql, parameters)]

    def _shares(self, names: tuple[str, ...]) -> bool:
        return TOOL in names or TOOL in self._scope.where

    def _calls(self, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        selection = self._without(TOOL).calls("call")
        source, condition, parameters = selection
        figures = [
            _INPUT,
            "coalesce(c.cache_read_tokens, 0)",
            "coalesce(c.output_tokens, 0)",
            "c.cost_nano_usd",
        ]
        if self._shares(names):
            source += " left join shares h on h.run_id = c.run_id and h.step_id = c.step_id"
            figures = [_share(figure) for figure in figures]
        tool = f"coalesce(h.name, '{NO_TOOL}')"
        condition = self._with_tool(condition, tool, parameters, "call")
        keys, more = self._keys(names, "c", tool, parameters, "call")
        facts = "r.id as run_id, c.run_id || c.id as call_key, c.usage_source, c.cost_status"
        named = zip(figures, ("input_tokens", "cached_tokens", "output_tokens", "nano"), strict=True)
        columns = ", ".join([facts, *(f"{sql} as {name}" for sql, name in named), *keys])
        return f"select {columns} {source} {more} where {condition}", parameters

    def _tools(self, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """What tools themselves cost: rows that are no calls."""
        selection = self._without(TOOL, "model", "provider").tools("own")
        source, condition, parameters = selection
        of_model = [self._scope.where[name] for name in ("model", "provider") if name in self._scope.where]
        if any(OWN_COST not in values for values in of_model):
            condition += " and false"
        condition = self._with_tool(condition, "t.name", parameters, "own")
        keys, more = self._keys(names, "t", "t.name", parameters, "own")
        facts = "r.id, null, null, null, 0, 0, 0, t.cost_nano_usd"
        columns = ", ".join([facts, *keys])
        return (
            f"select {columns} {source} {more} where t.cost_nano_usd is not null and {condition}",
            parameters,
        )

    def _without(self, *names: str) -> Scope:
        where = {name: values for name, values in self._scope.where.items() if name not in names}
        return replace(self._scope, where=where)

    def _with_tool(self, condition: str, tool: str, parameters: dict[str, Any], of: str) -> str:
        if TOOL not in self._scope.where:
            return condition
        parameters[f"{of}_tool"] = json.dumps(self._scope.where[TOOL])
        return f"{condition} and {tool} in (select value from json_each(:{of}_tool))"

    def _keys(
        self, names: tuple[str, ...], row: str, tool: str, parameters: dict[str, Any], of: str
    ) -> tuple[list[str], str]:
        """SQL of the keys, and what is to be joined for them."""
        found = []
        for place, name in enumerate(names):
            if name.startswith(ATTRIBUTE):
                parameters[f"{of}_key_{place}"] = name.removeprefix(ATTRIBUTE)
                sql = dimensions.attribute(f":{of}_key_{place}", row, "s", "r")
            else:
                sql = _key(name, row, tool)
            found.append(f"{sql} as key_{place}")
        return found, "left join json_each(r.tags) g" if TAG in names else ""


def _key(name: str, row: str, tool: str) -> str:
    if name in TIMES:
        return TIMES[name].format(row)
    if name in dimensions.OF_CALL and row == "t":
        return "t.status" if name == "status" else f"'{OWN_COST}'"
    special = {TOOL: tool, TAG: f"coalesce(g.value, '{NONE}')", STEP: f"coalesce(s.number, '{NONE}')"}
    return special.get(name) or (dimensions.OF_RUN | dimensions.OF_STEP | dimensions.OF_CALL)[name]


def _share(column: str) -> str:
    """An equal part of a figure for each tool of the step; the remainder goes to the first ones, so nothing is lost."""
    return f"({column}) / coalesce(h.tools, 1) + (coalesce(h.place, 1) <= ({column}) % coalesce(h.tools, 1))"
