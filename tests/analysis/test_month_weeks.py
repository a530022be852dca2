"""`why` is measured against the two weeks: if they hide another cause than they name, a wrong explanation passes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.analysis.conftest import PlantedWeeks
from tokentrace_core.cli.demo.month import CASES, Weeks, write_weeks


class Recorded(NamedTuple):
    weeks: Weeks
    rows: sqlite3.Connection

    def both(self, query: str) -> list[Any]:
        """The rows of a query for the first week, and for the second; `{week}` stands for the condition on runs r."""
        middle = round(self.weeks.before[1].timestamp() * 1e6)
        weeks = (f"r.started_at < {middle}", f"r.started_at >= {middle}")
        return [self.rows.execute(query.format(week=week)).fetchall() for week in weeks]


_CALLS = (
    "from llm_calls c join runs r on r.id = c.run_id join steps s on s.run_id = r.id and s.id = c.step_id"
)


@pytest.fixture(scope="module", params=sorted(CASES))
def recorded(request: pytest.FixtureRequest, planted_weeks: PlantedWeeks) -> Iterator[Recorded]:
    path, weeks = planted_weeks(request.param)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as rows:
        yield Recorded(weeks, rows)


def test_the_cost_doubles_on_flat_traffic(recorded: Recorded) -> None:
    weeks = recorded.weeks
    (first,), (second,) = recorded.both(f"select sum(c.cost_nano_usd) {_CALLS} where {{week}}")
    assert (first[0], second[0]) == (weeks.nano_before, weeks.nano_after)
    assert 1.5 < weeks.nano_after / weeks.nano_before < 2.5
    asked_by = recorded.both(
        "select user_id, name, count(*) from runs r where {week} group by 1, 2 order by 1, 2"
    )
    assert asked_by[0] == asked_by[1]


def test_the_named_causes_are_all_that_has_changed(recorded: Recorded) -> None:
    weeks = recorded.weeks
    added = weeks.nano_after - weeks.nano_before
    assert sum(cause.nano_usd for cause in weeks.causes) == pytest.approx(added, rel=0.15)
    assert [cause.name for cause in weeks.causes] == weeks.case.split("+")
    largest = weeks.causes[0]
    assert largest.nano_usd > 1.2 * max((cause.nano_usd for cause in weeks.causes[1:]), default=0)
    place = f"{_CALLS} where {{week}} and r.name = '{largest.agent}' and s.name = '{largest.step}'"
    (before,), (after,) = recorded.both(f"select sum(c.cost_nano_usd) {place}")
    assert after[0] - (before[0] or 0) > 0.6 * largest.nano_usd


def test_an_unknown_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no case 'rain'; there are .*cache_misses"):
        write_weeks(tmp_path / "w.db", "rain")
