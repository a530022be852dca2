"""The examples show what they are there to show, keyless and offline, and leave a trace that can be read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tokentrace_core.pricing import to_usd
from tokentrace_core.store.reader import Reader, Row

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))

#: Runs an example by its number and gives the lines it printed.
Play = Callable[[str], list[str]]


@pytest.fixture
def play(db: Path, tmp_path: Path) -> Play:
    # What other tests have set for CrewAI would hide what an example forgets.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("CREWAI_")}

    def run(number: str) -> list[str]:
        (example,) = (example for example in EXAMPLES if example.name.startswith(number))
        done = subprocess.run(
            [sys.executable, str(example)],
            cwd=tmp_path,
            env=outside | {"TOKENTRACE_DB": str(db), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.fixture
def recorded(db: Path) -> Callable[[], list[Row]]:
    """The runs an example left, the latest first."""

    def read() -> list[Row]:
        with Reader(db) as reader:
            return reader.runs()

    return read


Recorded = Callable[[], list[Row]]


def test_an_example_that_is_not_tested_here_may_be_broken() -> None:
    assert [example.name[:2] for example in EXAMPLES] == [f"{number:02}" for number in range(1, 9)]


def test_the_first_example_prints_the_answer_and_what_it_cost(
    play: Play, recorded: Recorded, db: Path
) -> None:
    answer, cost = play("01")
    assert answer == "It left this morning."
    (run,) = recorded()
    # 120 + 180 tokens in at $0.15 and 18 + 9 out at $0.60 per million
    assert run["cost_nano_usd"] == 300 * 150 + 27 * 600
    steps, dollars = cost.split(" steps, $")
    assert (steps, float(dollars) * 1e9) == ("2", pytest.approx(run["cost_nano_usd"]))
    assert (run["name"], run["user_id"], run["status"]) == ("support", "ada", "success")
    with Reader(db) as reader:
        (tool,) = reader.tool_calls(run["id"])
    assert (tool["name"], tool["arguments"]) == ("order_status", '{"order_id":4711}')


def test_two_requests_of_one_thread_are_two_runs_of_one_session_with_the_nested_agent_in_each(
    play: Play, recorded: Recorded, db: Path
) -> None:
    assert play("02") == ["Lisbon is more than twice as large as Porto."]
    runs = recorded()
    assert [run["session_id"] for run in runs] == ["report-7", "report-7"]
    assert {(run["name"], run["user_id"], run["status"]) for run in runs} == {("report", "ada", "success")}
    with Reader(db) as reader:
        for run in runs:
            agents = [step["agent"] for step in reader.steps(run["id"])]
            assert agents.count("researcher") == 2
            assert len(agents) == 3
            models = sorted(call["model"] for call in reader.llm_calls(run["id"]))
            assert models == ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini"]
            assert [call["name"] for call in reader.tool_calls(run["id"])] == ["population"] * 2


def test_a_spent_budget_stops_the_loop_and_the_partial_answer_is_kept(
    play: Play, recorded: Recorded, db: Path
) -> None:
    stop, answer = play("03")
    assert answer == "4 findings"
    (run,) = recorded()
    said = re.fullmatch(r"stopped by run_usd, (\S+) of (\S+)", stop)
    assert said, stop
    assert (Decimal(said[1]), Decimal(said[2])) == (to_usd(run["cost_nano_usd"]), Decimal("0.02"))
    assert (run["status"], run["error_type"]) == ("failure", "budget_exceeded")
    assert (run["llm_calls"], run["tool_calls"], run["refused_calls"]) == (4, 4, 1)
    assert (run["session_id"], run["user_id"]) == ("ticket-4711", "ada")
    assert run["cost_nano_usd"] == 4 * (1_500 * 2_500 + 120 * 10_000)


def test_the_signals_tell_of_the_dear_calls_and_of_the_run(play: Play, recorded: Recorded, db: Path) -> None:
    *calls, last = play("04")
    (run,) = recorded()
    with Reader(db) as reader:
        costs = [call["cost_nano_usd"] for call in reader.llm_calls(run["id"])]
    assert calls == [f"a call to gpt-4o cost ${cost / 1e9:.4f}" for cost in costs]
    assert len(costs) == 2
    assert min(costs) > 1_000_000
    assert last == f"nightly: success, 2 calls, {run['input_tokens']} tokens in"
    assert run["input_tokens"] > 4_000


def test_a_query_engine_of_an_agent_is_part_of_its_run(play: Play, recorded: Recorded, db: Path) -> None:
    assert play("05") == ["Sail before 06:12."]
    (run,) = recorded()
    assert (run["name"], run["framework"], run["status"]) == ("harbour", "llama-index", "success")
    assert (run["session_id"], run["user_id"]) == ("boat-7", "ada")
    assert run["cost_nano_usd"] == (130 + 240 + 210) * 150 + (16 + 9 + 7) * 600
    with Reader(db) as reader:
        assert [step["agent"] for step in reader.steps(run["id"])] == ["harbour", "tides", "harbour"]
        assert {call["kind"] for call in reader.tool_calls(run["id"])} == {"tool", "retrieval"}


def test_a_crew_is_one_run_with_its_agents_and_tasks(play: Play, recorded: Recorded, db: Path) -> None:
    assert play("06") == ["Order 20 ropes."]
    (run,) = recorded()
    assert (run["name"], run["framework"], run["status"]) == ("chandlery", "crewai", "success")
    assert (run["session_id"], run["user_id"]) == ("shop-2", "ada")
    assert run["cost_nano_usd"] == (160 + 220 + 190) * 150 + (15 + 8 + 6) * 600
    with Reader(db) as reader:
        steps = [(step["agent"], step["name"]) for step in reader.steps(run["id"])]
        (tool,) = reader.tool_calls(run["id"])
    assert steps == [("counter", "count"), ("counter", "count"), ("buyer", "buy")]
    assert (tool["name"], tool["arguments"], tool["result"]) == ("stock", '{"item":"rope"}', "3")


def test_three_frameworks_in_one_request_are_one_run(play: Play, recorded: Recorded, db: Path) -> None:
    assert play("07") == ["Replace your ropes every five years."]
    (run,) = recorded()
    assert (run["name"], run["framework"], run["user_id"]) == ("editors", "crewai", "ada")
    assert run["cost_nano_usd"] == (300 + 400 + 350) * 150 + (18 + 4 + 11) * 600
    with Reader(db) as reader:
        assert [step["agent"] for step in reader.steps(run["id"])] == ["writer", "manual", "writer"]
        tools = {call["name"]: call["kind"] for call in reader.tool_calls(run["id"])}
    assert tools == {"manual": "tool", "SummaryIndexRetriever": "retrieval"}


def test_the_budget_enforcer_stops_at_half_a_dollar_or_fifteen_steps(play: Play, recorded: Recorded) -> None:
    """Requirement S107: a cheap planner and a dear writer."""
    pressed, written, stopped, planned = play("08")
    assert pressed == "96% of the budget is used: no more chapters"
    assert written.startswith("5 of 20 chapters, 11 steps, $0.47")
    assert stopped == "stopped by steps: 15 of 15"
    assert planned.startswith("15 steps, $0.00")
    planner, author = recorded()
    assert (planner["status"], planner["error_type"], planner["llm_calls"]) == (
        "failure",
        "budget_exceeded",
        15,
    )
    assert (author["status"], author["output"]) == ("success", "5 of 20 chapters")
    assert to_usd(author["cost_nano_usd"]) <= Decimal("0.50")
