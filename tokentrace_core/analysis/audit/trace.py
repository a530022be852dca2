"""The runs of a scope, in the order of their ids, as an audit looks at them: some at a time (`page`), all of one before the next.

A file may have a million calls, so nobody gets all of them at once, and nothing is asked run by run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tokentrace_core.analysis.audit.calls import NO_RUN, Call, Page, Run, TracedRun
from tokentrace_core.analysis.audit.page import Wanted, read_page, read_rows
from tokentrace_core.analysis.audit.prompts import Prompts, Skeletons
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.store.reader import Reader

#: So many calls and tool calls are read at once; and so many runs, since some have none.
_ROWS, _RUNS = 20_000, 5_000

_LISTED = "id, name, framework, session_id, expired, rows"
_LIST = """from (
        select r.id, coalesce(r.name, '') as name, r.framework, coalesce(r.session_id, '') as session_id,
            {expired} as expired, coalesce(r.llm_calls, 0) + coalesce(r.tool_calls, 0) as rows
        from main.runs r where r.id > :after and {condition} order by r.id limit :most
    )"""


def no_prompts(_: Call) -> bool:
    return False


def has_prompt(_: Call) -> bool:
    return True


class Trace:
    """What the scope of a question leaves to look at, in one file."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self.reader, self.scope = reader, scope
        self._skeletons = Skeletons(Prompts(reader))

    def pages(self, run_ids: Iterable[str] | None = None, wanted: Wanted = no_prompts) -> Iterator[Page]:
        """These runs, or all. `wanted`: whether the prompt of a call is read."""
        for runs in self._portions(run_ids):
            yield read_page(self.reader, self.scope, runs, wanted, self._skeletons)

    def runs(self, run_ids: Iterable[str] | None = None, wanted: Wanted = no_prompts) -> Iterator[TracedRun]:
        """The same one by one; those that have nothing in the scope are left out."""
        for page in self.pages(run_ids, wanted):
            yield from page.runs()

    def __len__(self) -> int:
        """How many runs may have something in the scope."""
        condition, parameters = self._touched()
        sql = f"select count(*) from main.runs r where {condition}"
        return int(next(self.reader.execute(sql, parameters))[0])

    def _portions(self, run_ids: Iterable[str] | None) -> Iterator[list[Run]]:
        """Runs that are read at once: by how many calls they have."""
        portion: list[Run] = []
        rows = 0
        for run in self._listed(run_ids):
            portion.append(run)
            rows += run.rows
            if rows >= _ROWS or len(portion) >= _RUNS:
                yield portion
                portion, rows = [], 0
        if portion:
            yield portion

    def _listed(self, run_ids: Iterable[str] | None) -> Iterator[Run]:
        condition, parameters = self._touched() if run_ids is None else _these(run_ids)
        expired = "r.expired" if "expired" in self.reader.columns("runs") else "null"
        source = _LIST.format(expired=expired, condition=condition)
        runs: list[Run] = [NO_RUN]
        while runs:
            after = {"after": runs[-1].id, "most": _RUNS}
            runs = read_rows(self.reader, Run, _LISTED, source, parameters | after)
            yield from runs

    def _touched(self) -> tuple[str, dict[str, Any]]:
        """SQL: whether a run may have something in the scope."""
        since, until = self.scope.since, self.scope.until
        if self.scope.where:
            calls, tools = self.scope.calls("call"), self.scope.tools("tool")
            sql = f"select c.run_id {calls.sql} union select t.run_id {tools.sql}"
            found = self.reader.execute(sql, calls.parameters | tools.parameters)
            return _these(run_id for (run_id,) in found)
        conditions, parameters = ["true"], dict[str, Any]()
        if until is not None:
            conditions.append("r.started_at < :until")
            parameters["until"] = until
        if since is not None:
            conditions.append("(r.ended_at is null or r.ended_at >= :since)")
            parameters["since"] = since
        return " and ".join(conditions), parameters


def _these(run_ids: Iterable[str]) -> tuple[str, dict[str, Any]]:
    return "r.id in (select value from json_each(:these))", {"these": json.dumps(list(run_ids))}
