"""The runs of a scope as an audit looks at them: day by day, some at a time (`page`), all of one before the next.

A file may have a million calls, so nobody gets all of them at once, and nothing is asked run by run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby
from typing import Any, NamedTuple

from tokentrace_core.analysis.audit.calls import Call, Page, Run, TracedRun
from tokentrace_core.analysis.audit.page import Wanted, read_page, read_rows
from tokentrace_core.analysis.audit.prompts import Prompts, Skeletons
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.store.digest_table import DAY_US
from tokentrace_core.store.reader import Reader

#: So many calls and tool calls are read at once; and so many runs, since some have none.
_ROWS, _RUNS = 20_000, 5_000

#: Calls from which on a file is large.
_LARGE = 20_000
_LEAST, _UTMOST = -(2**63), 2**63 - 1

_RUN = """r.id, coalesce(r.name, '') as name, r.framework, coalesce(r.session_id, '') as session_id,
    {expired} as expired, coalesce(r.llm_calls, 0) + coalesce(r.tool_calls, 0) as rows, r.started_at"""


def no_prompts(_: Call) -> bool:
    return False


def has_prompt(_: Call) -> bool:
    return True


class Day(NamedTuple):
    """The runs that began on one day (UTC) and may have something in the scope."""

    number: int
    """Days since the epoch."""
    run_ids: Sequence[str] | None
    """None: all."""
    whole: bool = False
    """Whether its runs are looked at whole, also what they called out of the time of the scope."""

    @property
    def begins(self) -> int:
        """Microseconds since the epoch."""
        return self.number * DAY_US

    @property
    def ends(self) -> int:
        return self.begins + DAY_US


class Trace:
    """What the scope of a question leaves to look at, in one file."""

    def __init__(self, reader: Reader, scope: Scope) -> None:
        self.reader, self.scope = reader, scope
        self._skeletons = Skeletons(Prompts(reader))

    def days(self) -> Iterator[Day]:
        """First to last; those on which nothing began are left out."""
        if self.scope.where:
            for number, chosen in groupby(self._chosen, lambda run: run[0] // DAY_US):
                yield Day(number, [run_id for _, run_id in chosen])
            return
        condition, parameters = self._in_time()
        sql = f"""
            select r.started_at from main.runs r
            where {condition} and r.started_at between :begins and :utmost order by 1 limit 1
        """
        begins = _LEAST
        while found := list(self.reader.execute(sql, parameters | {"begins": begins, "utmost": _UTMOST})):
            day = Day(found[0][0] // DAY_US, None)
            yield day
            begins = day.ends

    def pages_of(self, day: Day, wanted: Wanted = no_prompts) -> Iterator[Page]:
        """The runs of a day. `wanted`: whether the prompt of a call is read."""
        if day.whole:
            return self._of_all_time.pages_of(day._replace(whole=False), wanted)
        listed = (
            self._listed(day.run_ids) if day.run_ids is not None else self._all_between(day.begins, day.ends)
        )
        return self._pages(listed, wanted)

    def pages(self, run_ids: Iterable[str] | None = None, wanted: Wanted = no_prompts) -> Iterator[Page]:
        """These runs, or all."""
        if run_ids is not None:
            return self._pages(self._listed(sorted(set(run_ids))), wanted)
        return chain.from_iterable(self.pages_of(day, wanted) for day in self.days())

    def _pages(self, listed: Iterable[Run], wanted: Wanted) -> Iterator[Page]:
        for runs in _portions(listed):
            yield read_page(self.reader, self.scope, runs, wanted, self._skeletons)

    def runs(self, run_ids: Iterable[str] | None = None, wanted: Wanted = no_prompts) -> Iterator[TracedRun]:
        """The same one by one; those that have nothing in the scope are left out."""
        for page in self.pages(run_ids, wanted):
            yield from page.runs()

    @cached_property
    def _of_all_time(self) -> Trace:
        return Trace(self.reader, Scope())

    @cached_property
    def is_large(self) -> bool:
        """Whether looking at all of the file takes long."""
        sql = f"select count(*) from (select 1 from main.llm_calls limit {_LARGE})"
        return bool(next(self.reader.execute(sql))[0] == _LARGE)

    def __len__(self) -> int:
        """How many runs there are to look at; without those that began before the time and reach into it, who are few."""
        if self.scope.where:
            return len(self._chosen)
        since, until = self.scope.since, self.scope.until
        begun = [_LEAST if since is None else since, _UTMOST if until is None else until - 1]
        sql = "select count(*) from main.runs where started_at between ? and ?"
        return int(next(self.reader.execute(sql, begun))[0])

    def _listed(self, ids: Sequence[str]) -> Iterator[Run]:
        for first in range(0, len(ids), _RUNS):
            these = {"these": json.dumps(ids[first : first + _RUNS])}
            yield from self._runs(
                "r.id in (select value from json_each(:these)) order by r.started_at, r.id", these
            )

    def _all_between(self, begins: int, ends: int) -> Iterator[Run]:
        condition, parameters = self._in_time()
        condition += " and r.started_at < :ends and (r.started_at, r.id) > (:begins, :after)"
        after = {"begins": begins, "after": "", "ends": ends, "most": _RUNS}
        while some := self._runs(f"{condition} order by r.started_at, r.id limit :most", parameters | after):
            yield from some
            after |= {"begins": some[-1].started_at, "after": some[-1].id}

    def _runs(self, condition: str, parameters: dict[str, Any]) -> list[Run]:
        expired = "r.expired" if "expired" in self.reader.columns("runs") else "null"
        source = f"from (select {_RUN.format(expired=expired)} from main.runs r where {condition})"
        return read_rows(
            self.reader, Run, "id, name, framework, session_id, expired, rows, started_at", source, parameters
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
    def _chosen(self) -> list[tuple[int, str]]:
        """The runs that have a call in a scope of more than a time, by when they began."""
        calls, tools = self.scope.calls("call"), self.scope.tools("tool")
        sql = f"""
            select r.started_at, r.id from main.runs r
            where r.id in (select c.run_id {calls.sql} union select t.run_id {tools.sql}) order by 1, 2
        """
        return list(self.reader.execute(sql, calls.parameters | tools.parameters))


def _portions(listed: Iterable[Run]) -> Iterator[list[Run]]:
    """Runs that are read at once: by how many calls they have."""
    portion: list[Run] = []
    rows = 0
    for run in listed:
        portion.append(run)
        rows += run.rows
        if rows >= _ROWS or len(portion) >= _RUNS:
            yield portion
            portion, rows = [], 0
    if portion:
        yield portion
