"""Requirement S133: when this month's tokens come near to last month's, somebody is told, once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Budget, Tracer, Usage, signals
from tokentrace_core.store import month_watch

NOW = datetime.now(UTC)
LAST_MONTH = datetime(NOW.year - (NOW.month == 1), (NOW.month - 2) % 12 + 1, 15, tzinfo=UTC)


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    heard: list[dict[str, Any]] = []

    def hear(_: object, **fact: Any) -> None:
        heard.append(fact)

    with signals.budget_warning.connected_to(hear):
        yield heard


@pytest.fixture(autouse=True)
def _asked_at_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(month_watch, "_ASK_EVERY_S", 0.0)


def use(tracer: Tracer, tokens: int) -> None:
    with tracer.run("agent") as run, run.llm("gpt-4o") as call:
        call.done(None, usage=Usage(input_uncached_tokens=tokens - 10, output_tokens=10))
    assert tracer.flush(10)


def move_to_last_month(db: Path) -> None:
    at = int(LAST_MONTH.timestamp() * 1_000_000)
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("update llm_calls set started_at = ?", [at])


def test_it_is_said_once_when_the_part_is_reached_and_not_before(
    db: Path, told: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with Tracer(db, budget=Budget(near_last_month=0.8)) as tracer:
        use(tracer, 1_000)
        assert told == [], "there was no last month"
        move_to_last_month(db)
        use(tracer, 700)
        assert told == []
        with caplog.at_level(logging.WARNING):
            use(tracer, 150)
            use(tracer, 500)
    with Tracer(db, budget=Budget(near_last_month=0.8)) as tracer:
        use(tracer, 500)
    [warning] = told
    assert (warning["scope"], warning["run"]) == ("near_last_month", None)
    assert warning["share"] == pytest.approx(0.85)
    assert [record.getMessage() for record in caplog.records if "last month" in record.getMessage()] == [
        "this month's tokens have reached 85 % of last month's"
    ]


def test_each_project_has_its_own_months(db: Path, told: list[dict[str, Any]]) -> None:
    with Tracer(db, project="one") as tracer:
        use(tracer, 100)
    move_to_last_month(db)
    with Tracer(db, project="two", budget=Budget(near_last_month=0.5)) as tracer:
        use(tracer, 1_000)
    assert told == []


def test_a_receiver_may_ask_for_a_flush_without_hanging_the_writer(db: Path) -> None:
    answers: list[bool] = []
    with Tracer(db, budget=Budget(near_last_month=0.5)) as tracer:
        use(tracer, 100)
        move_to_last_month(db)

        def flush(_: object, **__: Any) -> None:
            answers.append(tracer.flush(5))

        with signals.budget_warning.connected_to(flush):
            use(tracer, 100)
    assert answers == [False]


@pytest.mark.parametrize("part", [0, -1])
def test_a_part_that_is_none_is_refused(part: float) -> None:
    with pytest.raises(ValueError, match="near_last_month"):
        Budget(near_last_month=part)
