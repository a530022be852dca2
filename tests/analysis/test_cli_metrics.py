"""`tokentrace metrics`: what a person reads and a program gets, and what is said when there is nothing to measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.analysis.conftest import Raw
from tests.core import test_cli
from tests.core.test_cli import HOSTILE, Cli, reply
from tokentrace_core import Tracer
from tokentrace_core.cli import main

tracer = test_cli.tracer
cli = test_cli.cli


def ask(path: Path, *arguments: str, columns: int | None = None) -> Result:
    return CliRunner().invoke(
        main, ["metrics", "--db", str(path), *arguments], env={"COLUMNS": str(columns or "")}
    )


def test_one_page_says_how_all_runs_went(traffic_file: Path, raw: Raw) -> None:
    page = ask(traffic_file).output
    good = sum(run["status"] == "success" for run in raw.runs)
    assert page.startswith(f"40 runs: success {100 * good / 40:.1f}% · tokens out/in ")
    names = [line.split("  ")[0] for line in page.splitlines()]
    assert names[3:8] == ["per run", "steps", "cost", "time", "context used at the end"]
    assert {"mail", "lookup"} <= {name.split(" ")[0] for name in names}


def test_what_no_cost_contains_is_said_with_the_cost(traffic_file: Path, raw: Raw) -> None:
    page = ask(traffic_file).output
    unpriced = sum(call["cost_status"] == "unpriced" for call in raw.calls)
    estimated = sum(call["usage_source"] == "estimated" for call in raw.calls)
    assert f"+? {unpriced} calls without a price, not in the cost." in page
    assert f"≈ {estimated} calls without reported usage: the cost is estimated." in page
    (cost,) = (line for line in page.splitlines() if line.startswith("cost "))
    assert cost.count("≈") == cost.count("+?") == 5


def test_programs_get_every_figure_money_as_exact_text(traffic_file: Path, raw: Raw) -> None:
    found = json.loads(ask(traffic_file, "--json", "--user", "ada").output)
    total = sum(run["cost_nano_usd"] for run in raw.runs if run["user_id"] == "ada")
    assert found["where"] == {"user": ["ada"]}
    assert round(float(found["metrics"]["cost_usd"]["total"]) * 10**9) == total
    assert {"mean_usd", "step", "runs", "multiplier", "mean_input_tokens"} == set(
        found["metrics"]["steps_by_number"][0]
    )
    assert {"p50", "p99", "mean", "max", "total", "count"} == set(found["metrics"]["tools"][0]["latency_ms"])


@pytest.mark.parametrize("columns", [None, 80], ids=["in a pipe", "on 80 columns"])
def test_each_group_has_a_line_of_its_own(traffic_file: Path, raw: Raw, columns: int | None) -> None:
    page = ask(traffic_file, "--by", "version,user", columns=columns).output
    found = json.loads(ask(traffic_file, "--by", "version,user", "--json").output)["groups"]
    assert {(group["version"], group["user"]) for group in found} == {
        (run["agent_version"], run["user_id"] or "(none)") for run in raw.runs
    }
    for group in found:
        line = next(number for number, line in enumerate(page.splitlines()) if group["user"] in line)
        assert line > 0
        assert f"{100 * group['success_rate']:.1f}%" in page


def test_no_runs_is_an_answer_and_not_a_page_of_zeros(tracer: Tracer, cli: Cli) -> None:
    assert cli("metrics").output.startswith("No runs to measure in ")
    assert cli("metrics", "--by", "user").output.startswith("No runs to measure in ")
    assert json.loads(cli("metrics", "--json").output)["metrics"]["success_rate"] == 0.0
    with tracer.run("going on"):
        assert cli("metrics").output.splitlines()[0].endswith("; 1 run not over yet.")


@pytest.mark.parametrize("by", ["planet", "tool", "agent,model"])
def test_a_grouping_that_cannot_be_is_wrong_usage(tracer: Tracer, cli: Cli, by: str) -> None:
    result = cli("metrics", "--by", by)
    assert result.exit_code == 2
    assert "--by" in result.stderr


def test_names_that_models_made_up_cannot_steer_the_terminal(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("x", user=HOSTILE) as run:
        with run.llm("small", messages="x") as call:
            call.done(reply())
        with run.tool(HOSTILE) as tool:
            tool.done("ok")
    for page in (cli("metrics").output, cli("metrics", "--by", "user").output):
        assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(page)
        assert "[red]x[/red]" in page
