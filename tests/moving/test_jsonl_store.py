"""`Tracer("traces.jsonl")`: the same record as a database has, where none can be; in whole lines, whoever writes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.moving.conftest import Cli, record
from tests.travel.programs import NANO_PER_CALL, ask_a_model
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.cli.tree import plain_tree
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.retention import Retention


@pytest.fixture
def lines_file(tmp_path: Path) -> Path:
    """Where the lines go."""
    return tmp_path / "traces.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_what_lines_say_is_what_the_database_would_have_said(
    db: Path, tracer: Tracer, lines_file: Path, cli: Cli, tmp_path: Path
) -> None:
    record(tracer)
    with Tracer(lines_file) as other:
        record(other)
    imported = tmp_path / "imported.db"
    cli("import", lines_file, "--db", imported)
    with Reader(db) as one, Reader(imported) as two:
        trees = [sorted(plain_tree(reader, run["id"]) for run in reader.runs()) for reader in (one, two)]
        sums = [
            next(
                reader.query(
                    "select count(*) as runs, sum(cost_nano_usd) as nano, sum(steps) as steps from runs"
                )
            )
            for reader in (one, two)
        ]
        texts = [
            sorted(row["body"] for row in reader.query("select body from messages")) for reader in (one, two)
        ]
    assert trees[0] == trees[1]
    assert sums[0] == sums[1]
    assert texts[0] == texts[1]


def test_each_span_is_one_line_that_is_redacted_and_its_owners(lines_file: Path) -> None:
    with Tracer(lines_file) as tracer:
        record(tracer)
    found = rows(lines_file)
    spans = [
        (row["table"], row["id"]) for row in found if row["table"] in ("steps", "llm_calls", "tool_calls")
    ]
    assert Counter(spans) == dict.fromkeys(spans, 1)
    assert Counter(table for table, _ in spans) == {"steps": 3, "llm_calls": 3, "tool_calls": 2}
    assert "canary" not in lines_file.read_text()
    assert lines_file.stat().st_mode & 0o777 == 0o600
    assert lines_file.read_text().isascii(), "no character that some reader takes for the end of a line"


def test_a_step_is_one_line_although_the_disk_was_slow_when_its_call_ended(lines_file: Path) -> None:
    tool_call = {"id": "a", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    asking = {"role": "assistant", "content": None, "tool_calls": [tool_call]}
    with Tracer(lines_file) as tracer:
        with tracer.run("agent") as run:
            with tracer._writer._busy, run.llm("nobodys-model", messages="Look it up.") as call:
                call.done(
                    {"choices": [{"message": asking}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}
                )
            assert tracer.flush(10)
            with run.tool("search") as tool:
                tool.done("found")
    steps = [row for row in rows(lines_file) if row["table"] == "steps"]
    assert [(row["status"], row["cumulative_tokens"] > 0) for row in steps] == [("success", True)]


def write_runs(path: str, number: int) -> None:
    with Tracer(path) as tracer:
        for _ in range(25):
            with tracer.run("agent") as run, run.llm("gpt-4o", messages=["x" * 20_000 * number]) as call:
                call.done("Yes.")


def test_eight_processes_append_to_one_file_and_every_line_is_whole(
    lines_file: Path, cli: Cli, db: Path
) -> None:
    children = [
        multiprocessing.get_context("fork").Process(target=write_runs, args=(str(lines_file), number))
        for number in range(8)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    found = rows(lines_file)
    assert len({row["id"] for row in found if row["table"] == "runs"}) == 200
    assert len([row for row in found if row["table"] == "llm_calls"]) == 200
    assert json.loads(cli("import", lines_file, "--db", db, "--json"))["broken"] == 0


def kill_oneself(path: str) -> None:
    tracer = Tracer(path)
    with tracer.run("agent") as run:
        ask_a_model(run)
        run.llm("gpt-4o").begin()
        tracer.flush(10)
        os.kill(os.getpid(), signal.SIGKILL)


def test_of_a_killed_process_the_run_and_its_ended_calls_are_there(
    lines_file: Path, cli: Cli, db: Path
) -> None:
    child = multiprocessing.get_context("spawn").Process(target=kill_oneself, args=(str(lines_file),))
    child.start()
    child.join(30)
    cli("import", lines_file, "--db", db)
    with Reader(db) as reader:
        [run] = reader.runs()
        assert (run["status"], run["llm_calls"], run["cost_nano_usd"]) == ("interrupted", 1, NANO_PER_CALL)


def test_a_forked_child_writes_its_own_lines(lines_file: Path) -> None:
    with Tracer(lines_file) as tracer:
        with tracer.run("parent") as run:
            child = os.fork()
            if not child:
                with tracer.continue_from({}, "child") as part:
                    ask_a_model(part)
                os._exit(0 if tracer.flush(10) else 1)
            assert os.waitpid(child, 0)[1] == 0
            ask_a_model(run)
    ended = [row["name"] for row in rows(lines_file) if row["table"] == "runs" and "ended_at" in row]
    assert sorted(ended) == ["child", "parent"]


def test_a_run_across_two_files_is_one_tree_once_both_are_imported(
    tmp_path: Path, lines_file: Path, cli: Cli
) -> None:
    other_file, database = tmp_path / "service.jsonl", tmp_path / "both.db"
    with Tracer(lines_file) as agent, Tracer(other_file) as service:
        with agent.run("agent", user="ada") as run, run.step("think") as step:
            ask_a_model(step)
            with step.tool("service"), service.continue_from(agent.headers(), "service") as part:
                ask_a_model(part)
    for order in ((lines_file, other_file), (other_file, lines_file)):
        database.unlink(missing_ok=True)
        for file in (*order, *order):
            cli("import", file, "--db", database)
        with Reader(database) as reader:
            [found] = reader.runs()
            assert plain_tree(reader, "last") == (
                "run agent cost=0.007 success\n"
                "  step think agent=agent success\n"
                "    llm gpt-4o input=1000 output=100 cost=0.0035 success\n"
                "    tool service success\n"
                "      step agent=service success\n"
                "        llm gpt-4o input=1000 output=100 cost=0.0035 success\n"
            )
            assert (found["name"], found["user_id"], found["steps"]) == ("agent", "ada", 2)
            assert found["cost_nano_usd"] == 2 * NANO_PER_CALL
            assert [step["number"] for step in reader.steps(found["id"])] == [1, 2]


def test_limits_of_a_run_hold_and_those_that_need_a_database_are_refused_at_once(lines_file: Path) -> None:
    with Tracer(lines_file, budget=Budget(steps=1)) as tracer, tracer.run("agent") as run:
        ask_a_model(run)
        with pytest.raises(BudgetExceeded):
            ask_a_model(run)
    for asked in (
        {"budget": Budget(user_day_usd=1)},
        {"budget": Budget(near_last_month=0.8)},
        {"retention": Retention()},
        {"key": "secret"},
        {"durability": "full"},
    ):
        with pytest.raises(ValueError, match="needs a database"):
            Tracer(lines_file, **asked)


def test_what_cannot_be_written_is_counted_and_the_agent_goes_on(lines_file: Path) -> None:
    lines_file.mkdir()
    with Tracer(lines_file) as tracer:
        with tracer.run("agent") as run:
            ask_a_model(run)
        assert tracer.flush(10)
        assert list(tracer.losses.values()) == [4]


def test_a_command_that_is_given_lines_says_what_to_do(lines_file: Path) -> None:
    from click.testing import CliRunner

    from tokentrace_core.cli import main

    with Tracer(lines_file) as tracer:
        record(tracer)
    done = CliRunner().invoke(main, ["runs", "--db", str(lines_file)])
    assert (done.exit_code, "tokentrace import" in done.output) == (1, True)


def test_a_run_is_a_line_when_it_begins_and_one_when_it_ends_however_long_it_takes(lines_file: Path) -> None:
    with Tracer(lines_file) as tracer:
        with tracer.run("agent") as run:
            for _ in range(3):
                assert tracer.flush(10)
                ask_a_model(run)
    found = [row["status"] for row in rows(lines_file) if row["table"] == "runs"]
    assert found == ["running", "success"]
