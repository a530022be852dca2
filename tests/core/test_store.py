"""The file: complete, private, readable by anyone, and never a reason for the agent to stop."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import ModelPrice, PriceBook, Tracer, Usage, signals
from tokentrace_core.store.reader import Reader

USED = Usage(input_uncached_tokens=10, output_tokens=100)
Stored = Callable[[], Reader]


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    """As any SQLite user would read it."""
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


def record_a_run(tracer: Tracer, name: str = "agent", steps: int = 1) -> str:
    recorder = tracer.recorder
    key = object()
    run = recorder.open_run(key, name)
    for number in range(steps):
        recorder.open_llm((key, number), parent=key, model="cent")
        recorder.close_llm((key, number), usage=USED)
    recorder.close_run(key)
    return run.id


@pytest.fixture
def hundred_runs(db: Path) -> Path:
    """100 runs: run n has n steps, each of a cent, and every third calls a tool or two."""
    with Tracer(db, prices=PriceBook({"cent": ModelPrice(input=0, output=100)})) as tracer:
        for number in range(1, 101):
            with tracer.run("agent", user=f"user {number % 7}") as run:
                for _ in range(number):
                    with run.llm("cent") as call:
                        call.done({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 100}})
                for tool, every in (("search", 1), ("read", 2), ("write", 4), ("rarely", 50)):
                    if number % every == 0:
                        with run.tool(tool):
                            pass
        assert tracer.flush(20)
    return db


def test_the_five_levels_are_five_tables_of_these_names(tracer: Tracer, stored: Stored) -> None:
    stored()
    tables = {name for (name,) in rows(tracer.path, "select name from sqlite_master where type = 'table'")}
    assert {"sessions", "runs", "steps", "llm_calls", "tool_calls"} <= tables


def test_s106_one_plain_statement_answers_how_many_steps_a_run_takes(hundred_runs: Path) -> None:
    assert rows(hundred_runs, "select avg(steps) from runs") == [(50.5,)]
    by_table = "select count(*) * 1.0 / count(distinct run_id) from steps"
    assert rows(hundred_runs, by_table) == [(50.5,)]


def test_s106_one_plain_statement_answers_what_the_dearest_runs_cost(hundred_runs: Path) -> None:
    p99 = "select cost_usd from run_costs order by cost_usd limit 1 offset (select count(*) * 99 / 100 - 1 from runs)"
    assert rows(hundred_runs, p99) == [(0.99,)]


def test_s106_one_plain_statement_answers_which_tools_are_called_most(hundred_runs: Path) -> None:
    top = "select name, count(*) from tool_calls group by name order by 2 desc limit 3"
    assert rows(hundred_runs, top) == [("search", 100), ("read", 50), ("write", 25)]


def test_the_totals_on_a_run_are_the_sums_over_its_calls(hundred_runs: Path) -> None:
    wrong = """
        select r.id from runs r left join (
            select run_id, count(*) as calls, sum(cost_nano_usd) as nano, sum(output_tokens) as tokens
            from llm_calls group by run_id
        ) c on c.run_id = r.id
        where r.llm_calls != c.calls or r.cost_nano_usd != c.nano or r.output_tokens != c.tokens
    """
    assert rows(hundred_runs, wrong) == []
    assert rows(hundred_runs, "select sum(cost_nano_usd) from runs") == [(5050 * 10_000_000,)]


def test_every_view_can_be_read_without_tokentrace(hundred_runs: Path) -> None:
    views = [name for (name,) in rows(hundred_runs, "select name from sqlite_master where type = 'view'")]
    assert {"calls", "run_costs", "tool_usage"} <= set(views)
    told = {view for view in views if rows(hundred_runs, f"select * from {view} limit 1")}
    assert told == set(views) - {"expired_costs"}, "nothing has expired here"
    assert rows(hundred_runs, "select model, sum(cost_usd) > 50.4 from calls group by model") == [("cent", 1)]


def test_a_call_is_found_with_all_that_was_known_of_it(tracer: Tracer, stored: Stored) -> None:
    with tracer.session("s", user="ada", plan="gold"), tracer.run("agent", tags=["beta"]) as run:
        with run.step("plan") as step:
            with step.llm("gpt-4o", provider="openai", messages="hello", temperature=0.5) as call:
                call.done({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "id": "r1"})
            with step.tool("lookup", {"order": 7}, tool_call_id="c1") as tool:
                tool.done({"found": True}, http_status=200, cost_usd="0.005")
            step.set_reasoning("look before answering")
    reader = stored()
    [llm_call], [tool_call] = reader.llm_calls(run.id or ""), reader.tool_calls(run.id or "")
    [step_row] = reader.steps(run.id or "")
    assert (llm_call["model"], llm_call["provider"], llm_call["params"]) == (
        "gpt-4o",
        "openai",
        '{"temperature":0.5}',
    )
    assert (llm_call["stop_reason"], llm_call["response_id"], llm_call["step_id"]) == (
        "stop",
        "r1",
        step_row["id"],
    )
    assert reader.messages(llm_call["prompt_id"])[0]["body"] == {"role": "user", "content": "hello"}
    assert reader.message(llm_call["output_id"])["content"] == "hi"
    assert (tool_call["arguments"], tool_call["result"], tool_call["http_status"]) == (
        '{"order":7}',
        '{"found":true}',
        200,
    )
    assert (tool_call["cost_nano_usd"], tool_call["result_bytes"]) == (5_000_000, 14)
    assert step_row["reasoning"] == "look before answering"
    [session] = reader.query("select * from sessions")
    assert (session["id"], session["user_id"], session["metadata"]) == ("s", "ada", '{"plan":"gold"}')


def test_nobody_else_on_the_machine_can_read_the_file(tracer: Tracer, stored: Stored) -> None:
    record_a_run(tracer)
    stored()
    for path in tracer.path.parent.glob("traces.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_two_tracers_on_one_file_write_through_one_thread_and_neither_loses(db: Path) -> None:
    before = set(threading.enumerate())
    with Tracer(db) as one:
        with Tracer(db.parent / "." / db.name) as two:
            writers = [t for t in set(threading.enumerate()) - before if t.name == "tokentrace-writer"]
            ids = {record_a_run(one), record_a_run(two)}
        assert len(writers) == 1
        ids.add(record_a_run(one))
    assert {run_id for (run_id,) in rows(db, "select id from runs where status = 'success'")} == ids


def test_what_sqlite_cannot_take_is_stored_all_the_same(tracer: Tracer, stored: Stored) -> None:
    nasty = "a\ud800b\x00c"
    with tracer.session(f"s{nasty}", user=nasty, note=nasty), tracer.run(nasty, tags=[nasty]) as run:
        with (
            run.step(nasty) as step,
            step.llm(nasty, messages=[nasty, {"role": {"no": "text"}}], seed=2**63) as call,
        ):
            call.done({"choices": [{"message": {"content": nasty}}], "id": nasty, "model": nasty})
            with step.tool(nasty, {nasty: 2**63}, tool_call_id=nasty) as tool:
                tool.done(nasty, http_status=2**70, error=nasty)
        run.set(**{nasty: nasty, "big": 2**64, "nan": float("nan")})
        run.score("quality", float("inf"), comment=nasty)
    reader = stored()
    assert tracer.losses == {}
    counts = [
        len(rows(tracer.path, f"select id from {table}"))
        for table in ("sessions", "runs", "steps", "llm_calls", "tool_calls", "scores")
    ]
    assert counts == [1] * 6
    assert reader.run("last")["status"] == "success"


def test_a_file_of_a_newer_version_is_left_alone_and_the_agent_goes_on(
    db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Tracer(db) as tracer:
        record_a_run(tracer)
    with closing(sqlite3.connect(db)) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('tokentrace', 'm999', '')"
        )
        connection.commit()
    with Tracer(db) as tracer:
        record_a_run(tracer)
        assert tracer.flush(5)
        assert any("newer tokentrace" in reason for reason in tracer.losses)
    assert rows(db, "select count(*) from runs") == [(1,)]
    assert "upgrade" in caplog.text


def test_a_running_agent_can_be_watched_before_its_run_ends(tracer: Tracer, stored: Stored) -> None:
    with tracer.run("agent") as run:
        with run.llm("gpt-4o"):
            assert stored().llm_calls(run.id or "")[0]["status"] == "running"
            assert stored().run("last")["status"] == "running"


def test_closing_the_tracer_marks_what_still_runs_as_interrupted(db: Path) -> None:
    tracer = Tracer(db)
    tracer.run("agent").begin()
    tracer.llm("gpt-4o").begin()
    assert tracer.close()
    assert rows(db, "select status from runs") == [("interrupted",)] * 2
    record_a_run(tracer)  # after the end: not recorded, not an error
    assert rows(db, "select count(*) from runs") == [(2,)]


def test_a_closed_tracer_hears_nothing_any_more(db: Path) -> None:
    tracer = Tracer(db)
    tracer.close()
    assert not any(list(signal.receivers_for(tracer.recorder)) for signal in signals.CARRIES)
