"""The runs of a scope, in the order of their ids, as an audit looks at them: some at a time (`page`), all of one before the next.

A file may have a million calls, so nobody gets all of them at once, and nothing is asked run by run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from tokentrace_core.analysis.audit.calls import NO_RUN, Call, Page, Run, TracedRun
from tokentrace_core.analysis.audit.page import Wanted, read_page, read_rows
from tokentrace_core.analysis.audit.prompts import Prompts, Skeletons
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.store.reader import Reader

#: So many calls and tool calls are read at once; and so many runs, since some have none.
_ROWS, _RUNS = 20_000, 5_000

_RUN = """r.id, coalesce(r.name, '') as name, r.framework, coalesce(r.session_id, '') as session_id,
    {expired} as expired, coalesce(r.llm_calls, 0) + coalesce(r.tool_calls, 0) as rows"""


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
        if self.scope.where:
            return len(self._chosen)
        condition, parameters = self._in_time()
        return int(
            next(self.reader.execute(f"select count(*) from main.runs r where {condition}", parameters))[0]
        )

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
        if run_ids is None and not self.scope.where:
            yield from self._all_in_time()
            return
        ids = sorted(set(self._chosen if run_ids is None else run_ids))
        for first in range(0, len(ids), _RUNS):
            these = {"these": json.dumps(ids[first : first + _RUNS])}
            yield from self._runs("r.id in (select value from json_each(:these)) order by r.id", these)

    def _all_in_time(self) -> Iterator[Run]:
        condition, parameters = self._in_time()
        some: list[Run] = [NO_RUN]
        while some:
            after = {"after": some[-1].id, "most": _RUNS}
            some = self._runs(f"{condition} and r.id > :after order by r.id limit :most", parameters | after)
            yield from some

    def _runs(self, condition: str, parameters: dict[str, Any]) -> list[Run]:
        expired = "r.expired" if "expired" in self.reader.columns("runs") else "null"
        source = f"from (select {_RUN.format(expired=expired)} from main.runs r where {condition})"
        return read_rows(
            self.reader, Run, "id, name, framework, session_id, expired, rows", source, parameters
        )

    def _in_time(self) -> tuple[str, dict[str, Any]]:
        """SQL: whether a run may have something in the time of the scope."""
        since, until = self.scope.since, self.scope.until
        conditions, parameters = ["true"], dict[str, Any]()
        if until is not None:
            conditions.append("r.started_at < :until")
            parameters["until"] = until
        if since is not None:
            conditions.append("(r.ended_at is null or r.ended_at >= :since)")
            parameters["since"] = since
        return " and ".join(conditions), parameters

    @cached_property
    def _chosen(self) -> list[str]:
        """The runs that have a call in a scope of more than a time."""
        calls, tools = self.scope.calls("call"), self.scope.tools("tool")
        sql = f"select c.run_id {calls.sql} union select t.run_id {tools.sql}"
        return [run_id for (run_id,) in self.reader.execute(sql, calls.parameters | tools.parameters)]
