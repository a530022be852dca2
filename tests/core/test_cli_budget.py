"""`tokentrace budget`: who is near a limit, and who was stopped."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tokentrace_core import Budget, BudgetExceeded, ModelPrice, PriceBook, Tracer, Usage
from tokentrace_core.cli import main

CENT = PriceBook({"cent": ModelPrice(input=0, output=100)})
REPLY = Usage(input_uncached_tokens=10, output_tokens=100)


@pytest.fixture
def spent(db: Path) -> Path:
    """Ada has used up her day, Bob a tenth of his."""
    with Tracer(
        db, budget=Budget(user_day_usd="0.10", project_month_usd=1), prices=CENT, project="desk"
    ) as tracer:
        for user, calls in (("ada", 12), ("bob", 1)):
            with suppress(BudgetExceeded), tracer.run("agent", user=user) as run:
                for _ in range(calls):
                    with run.llm("cent") as call:
                        call.done(None, usage=REPLY)
    return db


def say(db: Path, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["budget", "--db", str(db), *arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


def said(db: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(say(db, "--json"))
    return document


def test_the_nearest_limit_comes_first_with_what_is_left(spent: Path) -> None:
    limits = said(spent)["limits"]
    assert [(limit["scope"], limit["subject"]) for limit in limits] == [
        ("user_day_usd", "ada"),
        ("project_month_usd", "desk"),
        ("user_day_usd", "bob"),
    ]
    ada = limits[0]
    assert (ada["used"], ada["remaining"]["cost_nano_usd"]) == (1.0, 0)
    assert ada["spent"]["cost_nano_usd"] == ada["limit"]["cost_nano_usd"] == 100_000_000
    assert "user_day_usd" in say(spent).splitlines()[1]


def test_who_was_stopped_when_and_by_what_is_told(spent: Path) -> None:
    [stop] = said(spent)["stopped"]
    assert (stop["user_id"], stop["run_name"], stop["scope"]) == ("ada", "agent", "user_day_usd")
    assert "spent $0.1000 of $0.1000; nothing is left" in say(spent)


def test_spending_outlives_the_deletion_of_who_spent_it_without_the_name(spent: Path) -> None:
    with closing(sqlite3.connect(spent)) as connection, connection:
        connection.execute("delete from runs where user_id = 'ada'")
    [limit] = [limit for limit in said(spent)["limits"] if limit["subject"] is None]
    assert limit["spent"]["cost_nano_usd"] == 100_000_000
    assert "(deleted)" in say(spent)


def test_past_days_are_shown_when_they_are_asked_for(spent: Path) -> None:
    with closing(sqlite3.connect(spent)) as connection, connection:
        connection.execute("update budget_ledger set period = '2020-01-01' where scope = 'user_day_usd'")
    assert "2020-01-01" not in say(spent)
    assert say(spent, "--all").count("2020-01-01") == 2


def test_a_file_without_shared_limits_says_how_to_have_one(tracer: Tracer) -> None:
    with tracer.run("agent"):
        pass
    assert tracer.flush(10)
    output = say(tracer.path)
    assert "Budget(user_day_usd=...)" in output
    assert "No run was stopped." in output
