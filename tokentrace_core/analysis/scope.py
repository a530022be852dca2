"""Which runs and calls a question is about: a span of time, and values that dimensions must have.

    scope = Scope(since=…, where={"user": ("ada", "bob"), "attr.tier": ("gold",)})
    sql, parameters = scope.calls().select("sum(c.cost_nano_usd) as nano")

Values of one dimension are alternatives, dimensions narrow each other. A row is in the time of its own start: a run by when
it began, a call by when it was made, so that days add up. Refused calls are never in it: nothing was sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from tokentrace_core.analysis import dimensions
from tokentrace_core.analysis.dimensions import ATTRIBUTE, OF_CALL, OF_RUN, OF_STEP, TAG, TOOL

_CALLS = """from llm_calls c join runs r on r.id = c.run_id
    left join main.steps s on s.run_id = c.run_id and s.id = c.step_id"""
_TOOLS = """from tool_calls t join runs r on r.id = t.run_id
    left join main.steps s on s.run_id = t.run_id and s.id = t.step_id"""
_CALL_OF_RUN = """select 1 from (select 1) left join main.llm_calls c on c.run_id = r.id and c.status != 'refused'
    left join main.steps s on s.run_id = c.run_id and s.id = c.step_id"""
_CALL_OF_STEP = "select 1 from main.llm_calls c where c.run_id = t.run_id and c.step_id = t.step_id and c.status != 'refused'"


class Selection(NamedTuple):
    """Rows, as SQL: what stands after `from` (with its joins) and after `where`, and the parameters of both."""

    source: str
    condition: str
    parameters: dict[str, Any]

    @property
    def sql(self) -> str:
        """`from … where …`; more conditions may follow with `and`."""
        return f"{self.source} where {self.condition}"

    def select(self, columns: str, rest: str = "") -> tuple[str, dict[str, Any]]:
        """For `Reader.query`. `rest`: what follows the conditions."""
        return f"select {columns} {self.sql} {rest}", self.parameters


class Time(NamedTuple):
    """From one moment until another, which is not in it any more: microseconds since the epoch. None: without an end."""

    since: int | None
    until: int | None


@dataclass(frozen=True)
class Scope:
    """A question's runs and calls. Raises ValueError for a dimension that there is not."""

    since: int | None = None
    """Microseconds since the epoch; what began then is in it."""
    until: int | None = None
    """What began then is not in it any more."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Dimension (`dimensions.NAMES`) -> the values that it may have."""

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("the time ends before it begins")
        named = {dimensions.canonical(name): tuple(values) for name, values in self.where.items()}
        object.__setattr__(self, "where", MappingProxyType(named))

    def runs(self, name: str = "scope") -> Selection:
        """Runs (`r`). `name` begins those of the parameters: two scopes in one query need two."""
        of_calls = [each for each in self.where if each not in OF_RUN and each not in (TAG, TOOL)]
        parts = [self._one(each, name) for each in self.where if each in OF_RUN or each == TAG]
        if of_calls:
            inside = " and ".join(self._one(each, name) for each in of_calls)
            parts.append(f"exists ({_CALL_OF_RUN} where {inside})")
        if TOOL in self.where:
            parts.append(self._tool_is_among(name, "t.run_id = r.id"))
        return self._selection("from runs r", "r", parts, name)

    def calls(self, name: str = "scope") -> Selection:
        """Model calls (`c`) with their runs (`r`) and steps (`s`, which may be missing)."""
        parts = [self._one(each, name) for each in self.where if each != TOOL]
        if TOOL in self.where:
            parts.append(self._tool_is_among(name, "t.run_id = c.run_id and t.step_id = c.step_id"))
        return self._selection(_CALLS, "c", ["c.status != 'refused'", *parts], name)

    def tools(self, name: str = "scope") -> Selection:
        """Tool calls (`t`) with their runs (`r`) and steps (`s`). Those of a model are those that it asked for."""
        parts = [
            self._one(each, name, "t")
            for each in self.where
            if (each not in OF_CALL and each != TOOL) or each == "status"
        ]
        asked = " and ".join(self._one(each, name) for each in ("model", "provider") if each in self.where)
        if asked:
            parts.append(f"exists ({_CALL_OF_STEP} and {asked})")
        if TOOL in self.where:
            parts.append(f"t.name in {_values(name, self._place(TOOL))}")
        return self._selection(_TOOLS, "t", parts, name)

    # ── parts of it ──────────────────────────────────────────────────────────────────────────────────

    def _selection(self, source: str, row: str, parts: list[str], name: str) -> Selection:
        parameters: dict[str, Any] = {}
        if self.since is not None:
            parts.append(f"{row}.started_at >= :{name}_since")
            parameters[f"{name}_since"] = self.since
        if self.until is not None:
            parts.append(f"{row}.started_at < :{name}_until")
            parameters[f"{name}_until"] = self.until
        for place, (dimension, values) in enumerate(self.where.items()):
            parameters[f"{name}_{place}"] = json.dumps(values)
            if dimension.startswith(ATTRIBUTE):
                parameters[f"{name}_{place}_key"] = dimension.removeprefix(ATTRIBUTE)
        return Selection(source, " and ".join(parts) or "true", parameters)

    def _one(self, dimension: str, name: str, call: str = "c") -> str:
        """SQL: whether a row has one of the values of a dimension."""
        place = self._place(dimension)
        values = _values(name, place)
        if dimension == TAG:
            return f"exists (select 1 from json_each(r.tags) where value in {values})"
        if dimension.startswith(ATTRIBUTE):
            return f"{dimensions.attribute(f':{name}_{place}_key', call, 's', 'r')} in {values}"
        told = (OF_RUN | OF_STEP | OF_CALL)[dimension]
        return f"{told.replace('c.', f'{call}.') if dimension == 'status' else told} in {values}"

    def _tool_is_among(self, name: str, of: str) -> str:
        values = _values(name, self._place(TOOL))
        return f"exists (select 1 from main.tool_calls t where {of} and t.name in {values})"

    def _place(self, dimension: str) -> int:
        return list(self.where).index(dimension)


def _values(name: str, place: int) -> str:
    return f"(select value from json_each(:{name}_{place}))"
