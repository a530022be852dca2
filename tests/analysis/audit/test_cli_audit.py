"""`tokentrace audit` as a user and as cron see it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.analysis.audit.conftest import Agent
from tests.analysis.audit.test_retries_and_loops import storm
from tests.analysis.audit.test_sent_again import turns
from tests.core.test_cli import HOSTILE
from tokentrace_core import Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import weekly
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.month import write_month
from tokentrace_core.store.reader import Reader

Cli = Callable[..., Result]


@pytest.fixture
def cli(tracer: Tracer, db: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Audit what was recorded so far, with the prices that it was recorded with."""
    prices = tmp_path / "prices.toml"
    prices.write_text("[models.claude-x]\ninput = 1\noutput = 10\n")
    monkeypatch.setenv("TOKENTRACE_PRICES", str(prices))

    def run(*arguments: str, path: Path = db) -> Result:
        assert tracer.flush(10)
        return CliRunner().invoke(main, ["audit", "--db", str(path), *arguments])

    return run


def test_the_first_line_says_what_part_of_the_bill_is_avoidable(agent: Agent, cli: Cli) -> None:
    storm(agent, 8)
    lines = cli().output.splitlines()
    assert lines[0] == "62 % of $0.0120 is avoidable: $0.0075 and 5,250 tokens of 8,400, in 1 finding."
    assert "support: lookup retried more than 2 times" in cli().output
    assert "1. retry storm: Cap retries at 2" in cli().output


def test_a_clean_file_and_an_empty_one_are_told_apart(agent: Agent, tracer: Tracer, cli: Cli) -> None:
    with tracer.run("nothing"):
        pass
    assert cli().output == "No model calls in this time: nothing to audit.\n"
    storm(agent, 1)
    assert cli().output == "No waste found in $0.0015 (1 call, 1,050 tokens).\n"


@pytest.mark.parametrize(("limit", "code"), [("20%", 3), ("62", 3), ("63%", 0), ("100%", 0)])
def test_ci_fails_when_more_is_wasted_than_allowed(agent: Agent, cli: Cli, limit: str, code: int) -> None:
    storm(agent, 8)
    result = cli("--fail-over", limit)
    assert result.exit_code == code
    assert ("is avoidable, more than" in result.stderr) == bool(code)


@pytest.mark.parametrize("limit", ["a lot", "120%", "-1"])
def test_a_limit_that_is_no_share_is_wrong_usage(agent: Agent, cli: Cli, limit: str) -> None:
    storm(agent, 1)
    assert cli("--fail-over", limit).exit_code == 2


def test_the_document_carries_every_call_and_a_query_that_finds_them(
    agent: Agent, cli: Cli, db: Path
) -> None:
    turns(agent, 5)
    document = json.loads(cli("--json").output)
    [finding] = document["findings"]
    assert finding["kind"] == "refetch"
    assert document["avoidable"]["cost_nano_usd"] == finding["wasted_nano_usd"] > 0
    with closing(sqlite3.connect(db)) as file:
        rows = file.execute(finding["sql"]).fetchall()
    assert sorted(row[:2] for row in rows) == sorted(
        (call["run_id"], call["id"]) for call in finding["calls"]
    )
    assert cli("--sql", "1").output.strip() == finding["sql"].strip()
    assert cli("--sql", "2").exit_code == 2


def test_only_the_last_30_days_count_unless_asked_otherwise(agent: Agent, cli: Cli, tmp_path: Path) -> None:
    storm(agent, 8)
    old = tmp_path / "old.db"
    write_month(old, plant=("retry_storm",), scale=0.2, start=datetime(2026, 1, 1, tzinfo=UTC))
    assert cli(path=old).output.startswith("No model calls")
    assert "retry storm" in cli("--since", "2026-01-01", path=old).output


def test_names_from_the_file_do_nothing_to_the_terminal(agent: Agent, cli: Cli) -> None:
    with agent.tracer.run(HOSTILE + "{times}"):
        for _ in range(5):
            agent.ask([{"role": "user", "content": HOSTILE}], "", prompt=1_000)
            agent.use(HOSTILE + "{0}", {"a": 1}, error="no")
    result = cli()
    assert result.exit_code == 0
    assert not set(result.output) & set("\x1b\x07\r\x9b\u202e")
    assert "(times)" in result.output


# ── week over week ───────────────────────────────────────────────────────────────────────────────────────


def test_a_waste_that_began_this_week_is_a_regression(tmp_path: Path) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    path = tmp_path / "month.db"
    write_month(path, plant=("broken_cache", "retry_storm"), start=start)  # the cache breaks on day 15

    def week(day: int) -> dict[str, str]:
        until = int((start + timedelta(days=day)).timestamp() * 1_000_000)
        with Reader(path) as reader:
            return {
                change.finding.kind: change.became for change in weekly(reader, Scope(until=until)).changes
            }

    assert week(21)["broken_cache"] in ("new", "worse")
    assert week(29)["broken_cache"] in ("same", "better")
    assert "broken_cache" not in week(14)


def test_cron_hears_what_changed(agent: Agent, cli: Cli) -> None:
    storm(agent, 8)
    result = cli("--weekly")
    assert result.output.startswith(
        "This week $0.0075 of $0.0120 is avoidable (62 %), last week $0 of $0 (0 %): 1 regression."
    )
    document = json.loads(cli("--weekly", "--json").output)
    assert [change["became"] for change in document["changes"]] == ["new"]
    assert document["changes"][0]["now_nano_usd"] == document["avoidable"]["cost_nano_usd"]


# ── saved queries ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    folder = tmp_path / "queries"
    folder.mkdir()
    return folder


def asked(cli: Cli, folder: Path, *more: str) -> list[dict[str, Any]]:
    return json.loads(cli("--queries", str(folder), "--json", *more).output)["queries"]


def test_a_team_can_ask_its_own_question_with_every_audit(agent: Agent, cli: Cli, queries: Path) -> None:
    storm(agent, 3)
    sql = "-- Calls of support\nselect run_name, count(*) as calls from calls where started_at >= :since and started_at < :until"
    (queries / "support.sql").write_text(sql)
    [answer] = asked(cli, queries)
    assert (answer["name"], answer["title"]) == ("support", "Calls of support")
    assert answer["rows"] == [{"run_name": "support", "calls": 3}]
    assert asked(cli, queries, "--since", "2000-01-01", "--until", "2001-01-01")[0]["rows"] == [
        {"run_name": None, "calls": 0}
    ]
    assert "Calls of support: 1 row" in cli("--queries", str(queries)).output


@pytest.mark.parametrize(
    "sql",
    ["delete from runs", "drop table runs", "selec 1", "select 1; delete from runs", "select :unknown", ""],
)
def test_a_saved_query_cannot_write_and_a_broken_one_says_so(
    agent: Agent, cli: Cli, queries: Path, db: Path, sql: str
) -> None:
    storm(agent, 1)
    (queries / "a.sql").write_text(sql)
    (queries / "b.sql").write_text("select 1 as one")
    broken, fine = asked(cli, queries)
    assert broken["rows"] == []
    assert broken["failure"]
    assert fine["rows"] == [{"one": 1}]
    with closing(sqlite3.connect(db)) as file:
        assert file.execute("select count(*) from runs").fetchone() == (1,)


def test_a_folder_without_queries_is_a_mistake(agent: Agent, cli: Cli, queries: Path) -> None:
    storm(agent, 1)
    result = cli("--queries", str(queries))
    assert result.exit_code == 1
    assert "NAME.sql" in result.stderr
