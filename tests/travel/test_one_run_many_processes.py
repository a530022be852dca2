"""A run across processes is one run: one tree, one sum, numbered through, ended by the process that began it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.travel.programs import NANO_PER_CALL, ask_a_model, hang, work
from tokentrace_core import Tracer
from tokentrace_core.analysis.spending import spending
from tokentrace_core.cli.tree import plain_tree
from tokentrace_core.store import lease
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.retention import Keeping, Retention

Rows = Callable[..., list[tuple[Any, ...]]]
Stored = Callable[[], Reader]

TREE = """\
run agent cost=0.014 success
  step think agent=agent success
    llm gpt-4o input=1000 output=100 cost=0.0035 success
    tool service success
      step look up agent=service success
        llm gpt-4o input=1000 output=100 cost=0.0035 success
        step weigh agent=worker success
          llm gpt-4o input=1000 output=100 cost=0.0035 success
        step decide agent=worker success
          llm gpt-4o input=1000 output=100 cost=0.0035 success
"""


def ask_the_service(tracer: Tracer, service: Any, **question: Any) -> Any:
    """The agent: thinks, and calls the tool that is a service."""
    with tracer.session("ticket 4711"), tracer.run("agent", user="ada") as run, run.step("think") as step:
        ask_a_model(step)
        with step.tool("service") as tool:
            answer = service(tracer, **question)
            tool.done(answer)
    assert answer["run"] == run.id
    return answer


def test_an_agent_its_tool_service_and_the_services_worker_are_one_tree(
    tracer: Tracer, service: Any, stored: Stored
) -> None:
    ask_the_service(tracer, service, worker=True)
    assert plain_tree(stored(), "last") == TREE


def test_the_run_is_the_first_processs_and_its_totals_are_the_sum_of_all(
    tracer: Tracer, service: Any, stored: Stored, rows: Rows
) -> None:
    answer = ask_the_service(tracer, service, worker=True)
    assert (answer["steps"], answer["usd"]) == (1, "0.003500000"), "the service knows its own part"
    [run] = stored().runs()
    assert (run["name"], run["status"], run["user_id"], run["session_id"]) == (
        "agent",
        "success",
        "ada",
        "ticket 4711",
    )
    assert (run["steps"], run["llm_calls"], run["tool_calls"]) == (4, 4, 1)
    assert (run["cost_nano_usd"], run["input_tokens"], run["output_tokens"]) == (
        4 * NANO_PER_CALL,
        4_000,
        400,
    )
    assert rows("select number, name from steps order by number") == [
        (1, "think"),
        (2, "look up"),
        (3, "weigh"),
        (4, "decide"),
    ]
    assert rows("select cumulative_cost_nano_usd from steps order by ended_at") == [
        (part * NANO_PER_CALL,) for part in (3, 4, 4, 4)
    ], "the worker's two steps end first"
    assert rows("select name, status from run_parts order by started_at") == [
        ("service", "success"),
        ("worker", "success"),
    ]
    assert rows("select count(*), user_id from sessions") == [(1, "ada")]


def test_ten_questions_at_once_are_all_in_the_sum(
    tracer: Tracer, service: Any, stored: Stored, rows: Rows
) -> None:
    with tracer.run("agent") as run:

        def ask(_: int) -> None:
            with run.tool("service"):
                service(tracer)
            ask_a_model(run)

        with ThreadPoolExecutor(5) as pool:
            list(pool.map(tracer.carry(ask), range(10)))
    [found] = stored().runs()
    assert (found["llm_calls"], found["cost_nano_usd"]) == (20, 20 * NANO_PER_CALL)
    numbers = [number for (number,) in rows("select number from steps order by number")]
    assert numbers == list(range(1, found["steps"] + 1))


def test_a_part_that_is_over_after_the_run_is_in_its_totals_and_does_not_open_it_again(
    tracer: Tracer, db: Path, stored: Stored, rows: Rows
) -> None:
    with tracer.run("agent") as run:
        headers = tracer.headers()
    ended = stored().runs()[0]["ended_at"]
    child = multiprocessing.get_context("spawn").Process(target=work, args=(str(db), headers))
    child.start()
    child.join(30)
    [found] = stored().runs()
    assert (found["status"], found["ended_at"], found["name"]) == ("success", ended, "agent")
    assert (found["llm_calls"], found["cost_nano_usd"]) == (2, 2 * NANO_PER_CALL)
    assert run.id == found["id"]


def test_a_worker_that_is_killed_leaves_no_call_running_and_no_run_that_never_ends(
    tracer: Tracer, db: Path, stored: Stored, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracer.run("agent") as run:
        ask_a_model(run)
        receive, send = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(
            target=hang, args=(str(db), tracer.headers(), send)
        )
        child.start()
        assert receive.poll(30)
        assert receive.recv() == "in a call"
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join(10)
    assert tracer.flush(10)
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 0)
    reader = stored()
    assert [row["status"] for row in reader.llm_calls(run.id or "")] == ["success", "interrupted"]
    assert [row["status"] for row in reader.runs()] == ["success"]
    assert rows("select status from llm_calls order by started_at") == [("success",), ("running",)]
    assert tracer.close()
    with Tracer(db) as next_writer:
        assert next_writer.flush(10)
    assert rows("select status from llm_calls order by started_at") == [("success",), ("interrupted",)]
    assert rows("select status, ended_at is not null from run_parts") == [("interrupted", 1)]
    assert rows("select status, cost_nano_usd from runs") == [("success", NANO_PER_CALL)]


def test_a_file_with_only_a_part_shows_it_as_a_run_of_its_own(
    tracer: Tracer, db: Path, start_service: Callable[..., Any], rows: Rows
) -> None:
    elsewhere = db.with_name("elsewhere.db")
    ask_the_service(tracer, start_service(elsewhere))
    assert tracer.flush(10)
    with Reader(elsewhere) as reader:
        [run] = reader.runs()
        assert (run["name"], run["status"], run["session_id"]) == ("service", "success", "ticket 4711")
        assert (run["cost_nano_usd"], run["steps"], run["ended_at"] is not None) == (NANO_PER_CALL, 1, True)
        assert [row.cost_nano_usd for row in spending(reader, ["run"]).rows] == [NANO_PER_CALL]
        assert plain_tree(reader, "last") == (
            "run service cost=0.0035 success\n"
            "  step look up agent=service success\n"
            "    llm gpt-4o input=1000 output=100 cost=0.0035 success\n"
        )
    assert rows("select id, cost_nano_usd from runs") == [(run["id"], NANO_PER_CALL)]
    assert rows("select id from sessions", elsewhere) == [("ticket 4711",)]


def test_a_part_that_fails_says_so_and_the_run_is_the_agents_to_end(
    tracer: Tracer, db: Path, stored: Stored, rows: Rows
) -> None:
    elsewhere = db.with_name("elsewhere.db")
    with tracer.run("agent"):
        with (
            Tracer(elsewhere) as other,
            pytest.raises(LookupError),
            other.continue_from(tracer.headers(), "service"),
        ):
            raise LookupError("no such order")
    assert [row["status"] for row in stored().runs()] == ["success"]
    assert rows("select status, error_type from run_parts", elsewhere) == [("failure", "LookupError")]
    assert rows("select status, error_type from runs", elsewhere) == [("failure", "LookupError")]


def test_two_processes_that_continue_one_run_elsewhere_are_one_run_there(tracer: Tracer, db: Path) -> None:
    elsewhere = db.with_name("elsewhere.db")
    with tracer.run("agent"), Tracer(elsewhere) as other:
        first = other.continue_from(tracer.headers(), "first")
        with first:
            ask_a_model(first)
            child = multiprocessing.get_context("spawn").Process(
                target=work, args=(str(elsewhere), tracer.headers())
            )
            child.start()
            child.join(30)
            with Reader(elsewhere) as reader:
                assert [run["status"] for run in reader.runs()] == ["running"], "the first goes on"
        assert other.flush(10)
        with Reader(elsewhere) as reader:
            [run] = reader.runs()
        assert (run["status"], run["steps"], run["cost_nano_usd"]) == ("success", 3, 3 * NANO_PER_CALL)


def test_a_forked_child_joins_with_the_headers_of_its_parent(
    tracer: Tracer, stored: Stored, rows: Rows
) -> None:
    with tracer.run("agent") as run:
        headers = run.headers()
        child = os.fork()
        if not child:
            with tracer.continue_from(headers, "child") as part:
                ask_a_model(part)
            os._exit(0 if tracer.flush(10) else 1)
        assert os.waitpid(child, 0)[1] == 0
        ask_a_model(run)
    assert [(found["id"], found["cost_nano_usd"]) for found in stored().runs()] == [
        (run.id, 2 * NANO_PER_CALL)
    ]
    assert rows("select number, agent from steps order by number") == [(1, "child"), (2, "agent")]


def test_a_pool_of_processes_works_on_one_run(tracer: Tracer, db: Path, stored: Stored, rows: Rows) -> None:
    with (
        tracer.run("agent"),
        ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        jobs = [pool.submit(work, str(db), tracer.headers()) for _ in range(6)]
        for job in jobs:
            job.result(60)
    [run] = stored().runs()
    assert (run["steps"], run["cost_nano_usd"], run["status"]) == (12, 12 * NANO_PER_CALL, "success")
    assert rows("select number from steps order by number") == [(n + 1,) for n in range(12)]
    assert rows("select count(*) from run_parts where status = 'success'") == [(6,)]


def test_in_the_process_that_began_it_the_run_is_continued_as_a_nested_agent(
    tracer: Tracer, stored: Stored, rows: Rows
) -> None:
    def answer(headers: dict[str, str]) -> None:
        with tracer.continue_from(headers, "service") as part:
            ask_a_model(part)

    with tracer.run("agent") as run:
        with run.step("think") as step, step.tool("service"):
            thread = threading.Thread(target=answer, args=(tracer.headers(),))
            thread.start()
            thread.join()
        assert run.steps == 2
    assert plain_tree(stored(), "last") == (
        "run agent cost=0.0035 success\n"
        "  step think agent=agent success\n"
        "    tool service success\n"
        "      step agent=service success\n"
        "        llm gpt-4o input=1000 output=100 cost=0.0035 success\n"
    )
    assert rows("select count(*) from run_parts") == [(0,)]


def test_tasks_that_continue_different_runs_at_once_keep_them_apart(db: Path, tracer: Tracer) -> None:
    elsewhere = db.with_name("elsewhere.db")
    with Tracer(elsewhere) as other:

        async def serve(headers: dict[str, str]) -> None:
            async with other.continue_from(headers, "service") as part:
                await asyncio.sleep(0)
                ask_a_model(part)
                await asyncio.sleep(0)
                assert other.headers()["X-Agent-Run-Id"] == headers["X-Agent-Run-Id"]

        async def ask() -> None:
            with tracer.run("agent"):
                await asyncio.gather(*(serve(tracer.headers()) for _ in range(3)))

        async def all_at_once() -> None:
            await asyncio.gather(*(ask() for _ in range(20)))

        asyncio.run(all_at_once())
        assert other.flush(10)
        with Reader(elsewhere) as reader:
            runs = reader.runs(100)
    assert len(runs) == 20
    assert {(run["llm_calls"], run["cost_nano_usd"]) for run in runs} == {(3, 3 * NANO_PER_CALL)}


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "00-abc-3-01"}, b"\xff", 3])
def test_headers_that_name_no_run_begin_one(tracer: Tracer, stored: Stored, headers: Any, rows: Rows) -> None:
    with tracer.continue_from(headers, "service", user="ada", input="Well?") as run:
        ask_a_model(run)
    [found] = stored().runs()
    assert (found["name"], found["user_id"], found["input"], found["status"]) == (
        "service",
        "ada",
        "Well?",
        "success",
    )
    assert rows("select count(*) from run_parts") == [(0,)]


def test_outside_of_any_run_there_are_no_headers(tracer: Tracer) -> None:
    assert tracer.headers() == {}
    with tracer.run("agent") as run:
        pass
    assert tracer.headers() == run.headers() == {}


def test_tracestate_is_passed_on_by_who_continues(db: Path, tracer: Tracer) -> None:
    came = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "tracestate": "congo=t61",
    }
    with tracer.continue_from(came, "service") as part:
        went = part.headers()
        assert went["traceparent"] == came["traceparent"][:-2] + "01", "it did nothing: its caller's span"
        with part.step("own"):
            own = tracer.headers()
    assert went["tracestate"] == own["tracestate"] == "congo=t61"
    assert own["traceparent"][:35] == came["traceparent"][:35]
    assert own["traceparent"] != went["traceparent"]


def test_what_a_handler_of_a_framework_reports_inside_belongs_to_the_part(
    db: Path, tracer: Tracer, rows: Rows
) -> None:
    elsewhere = db.with_name("elsewhere.db")
    with tracer.run("agent") as run, Tracer(elsewhere) as other:
        with other.continue_from(tracer.headers(), "service"):
            other.recorder.open_run("framework", "graph", framework="langchain")
            other.recorder.open_llm("call", parent="framework", model="gpt-4o")
            other.recorder.close_llm("call", output="Yes.")
            other.recorder.close_run("framework")
    assert rows("select run_id, agent from steps", elsewhere) == [(run.id, "service")]


def test_session_and_user_of_a_part_in_another_file_are_what_was_said(db: Path, tracer: Tracer) -> None:
    with tracer.session("ticket é\r\nX: 1"), tracer.run("agent", user="ada"):
        headers = tracer.headers()
    elsewhere = db.with_name("elsewhere.db")
    with Tracer(elsewhere, project="shop", environment="test") as other:
        with other.continue_from(headers, "service", user="bob"):
            pass
        assert other.flush(10)
        with Reader(elsewhere) as reader:
            [run] = reader.runs()
    assert (run["session_id"], run["user_id"]) == ("ticket é\r\nX: 1", "bob"), "no user travels in a header"
    assert (run["project"], run["environment"]) == ("shop", "test")


def test_a_part_that_lasts_longer_than_a_lease_is_not_taken_for_dead(
    tracer: Tracer, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_S", 0.2)
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 1)
    elsewhere = db.with_name("elsewhere.db")
    with tracer.run("agent"), Tracer(elsewhere) as other:
        with other.continue_from(tracer.headers(), "service") as part, part.llm("gpt-4o"):
            assert other.flush(10)
            time.sleep(1.5)
            with Reader(elsewhere) as reader:
                assert [run["status"] for run in reader.runs()] == ["running"]
                assert [call["status"] for call in reader.llm_calls(part.id or "")] == ["running"]


def test_a_part_that_comes_after_retention_took_the_calls_does_not_make_the_totals_smaller(
    tracer: Tracer, db: Path, stored: Stored
) -> None:
    with tracer.run("agent") as run:
        headers = tracer.headers()
        ask_a_model(run)
        ask_a_model(run)
    assert tracer.flush(10)
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        later = datetime.now(UTC) + timedelta(days=40)
        list(Keeping(connection, Retention(), later).pieces())
        assert connection.execute("select count(*) from llm_calls").fetchone() == (0,)
    with Tracer(db) as other, other.continue_from(headers, "late") as part:
        ask_a_model(part)
    [found] = stored().runs()
    assert found["cost_nano_usd"] >= 2 * NANO_PER_CALL
