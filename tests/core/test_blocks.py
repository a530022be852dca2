"""`with` blocks for the user's own code: what is inside is recorded, what leaves is unchanged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]

ANSWER = {
    "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 100},
}


@pytest.fixture
def tracer(db: Any) -> Any:
    """Every call of model "cent" costs a cent."""
    with Tracer(db, prices=PriceBook({"cent": ModelPrice(input=0, output=100)})) as tracer:
        yield tracer


def test_blocks_nest_as_they_are_written(tracer: Tracer, stored: Stored) -> None:
    with tracer.session("ticket-4711", user="ada"), tracer.run("triage") as run:
        with run.step("plan") as step:
            with step.llm("cent", messages="hello") as call:
                call.done(ANSWER)
            with tracer.tool("lookup", {"order": 7}) as tool:
                tool.done("found")
        with tracer.step("answer"), tracer.llm("cent") as call:
            call.done(ANSWER)
        run.set_output("done")
    reader = stored()
    row = reader.run("last")
    plan, answer = reader.steps(row["id"])
    assert (row["session_id"], row["user_id"], row["output"]) == ("ticket-4711", "ada", "done")
    assert [step["name"] for step in (plan, answer)] == ["plan", "answer"]
    assert [call["step_id"] for call in reader.llm_calls(row["id"])] == [plan["id"], answer["id"]]
    assert [call["step_id"] for call in reader.tool_calls(row["id"])] == [plan["id"]]
    assert (run.cost_usd, run.steps, run.status, run.id) == (Decimal("0.02"), 2, "success", row["id"])


async def _async_agent(tracer: Tracer) -> None:
    async with tracer.session("s"), tracer.run("agent") as run, run.step("plan") as step:
        async with step.llm("cent") as call:
            await asyncio.sleep(0)
            call.done(ANSWER)
        async with tracer.tool("lookup"):
            pass


def test_async_blocks_of_tasks_that_run_at_once_do_not_mix(tracer: Tracer, stored: Stored) -> None:
    async def main() -> None:
        await asyncio.gather(*(_async_agent(tracer) for _ in range(20)))

    asyncio.run(main())
    shapes = {
        (row["session_id"], row["steps"], row["llm_calls"], row["tool_calls"]) for row in stored().runs(99)
    }
    assert (len(stored().runs(99)), shapes) == (20, {("s", 1, 1, 1)})


def test_a_block_that_is_entered_again_is_another_span(tracer: Tracer, stored: Stored) -> None:
    with tracer.run("agent") as run:
        again = run.step("poll")
        for _ in range(3):
            with again, tracer.tool("check"):
                pass
    reader = stored()
    assert [step["name"] for step in reader.steps(run.id or "")] == ["poll"] * 3
    assert len({call["step_id"] for call in reader.tool_calls(run.id or "")}) == 3


@pytest.mark.parametrize("kind", ["run", "step", "llm", "tool"])
def test_an_exception_leaves_a_block_as_it_came_and_is_in_the_record(
    tracer: Tracer, stored: Stored, kind: str
) -> None:
    error = ValueError("no such order")
    error.__cause__ = KeyError("4711")
    with pytest.raises(ValueError, match="no such order") as caught:  # noqa: PT012
        with tracer.run("agent"):
            block = getattr(tracer, kind)("part")
            with block:
                raise error
    assert caught.value is error
    table = {"run": "runs", "step": "steps", "llm": "llm_calls", "tool": "tool_calls"}[kind]
    [row] = stored().query(f"select status, error_type, error from {table}")
    assert (row["status"], row["error_type"]) == ("failure", "ValueError")
    assert row["error"] == "ValueError: no such order\ncaused by KeyError: '4711'"


def test_code_without_with_begins_and_ends_by_hand(tracer: Tracer, stored: Stored) -> None:
    run = tracer.run("agent")
    run.begin()
    call = run.llm("cent")
    call.begin()
    call.done(ANSWER)
    call.end()
    tool = run.tool("lookup")
    tool.begin()
    tool.end(TimeoutError("too slow"))
    run.end()
    assert (run.status, run.cost_usd) == ("success", Decimal("0.01"))
    assert [row["status"] for row in stored().tool_calls(run.id or "")] == ["timeout"]


def test_a_run_inside_a_run_is_a_nested_agent_with_a_cost_of_its_own(tracer: Tracer, stored: Stored) -> None:
    with tracer.run("boss") as boss:
        with boss.llm("cent") as call:
            call.done(ANSWER)
        with tracer.tool("delegate"), tracer.run("researcher") as inner:
            for _ in range(2):
                with inner.llm("cent") as call:
                    call.done(ANSWER)
            with tracer.run("reader") as innermost, innermost.llm("cent") as call:
                call.done(ANSWER)
    assert (innermost.steps, innermost.cost_usd) == (1, Decimal("0.01"))
    assert (inner.id, inner.steps, inner.cost_usd) == (boss.id, 2, Decimal("0.03"))
    assert (boss.steps, boss.cost_usd) == (4, Decimal("0.04"))
    [delegate] = stored().tool_calls(boss.id or "")
    steps = stored().steps(boss.id or "")
    assert [(step["agent"], step["agent_step"], step["parent_call_id"]) for step in steps] == [
        ("boss", 1, None),
        ("researcher", 1, delegate["id"]),
        ("researcher", 2, delegate["id"]),
        ("reader", 1, delegate["id"]),
    ]


def test_calls_outside_any_run_are_recorded_each_in_a_run_of_its_own(tracer: Tracer, stored: Stored) -> None:
    with tracer.session("s", user="ada"):
        with tracer.llm("cent") as call:
            call.done(ANSWER)
        with tracer.tool("lookup"):
            pass
        with tracer.step("plan"):
            pass
    rows = stored().runs()
    assert {(row["name"], row["user_id"], row["status"], row["steps"]) for row in rows} == {
        ("cent", "ada", "success", 1),
        ("lookup", "ada", "success", 1),
        ("plan", "ada", "success", 1),
    }


def test_work_in_other_threads_is_placed_by_the_run_it_is_given(tracer: Tracer, stored: Stored) -> None:
    with tracer.run("one") as one, ThreadPoolExecutor(4) as pool:
        together = threading.Barrier(4, timeout=10)

        def work(number: int) -> None:
            with one.step(f"part {number}") as step:
                together.wait()
                with step.llm("cent") as call, tracer.tool("inner"):
                    call.done(ANSWER)

        list(pool.map(work, range(4)))
    reader = stored()
    steps = {step["id"]: step["name"] for step in reader.steps(one.id or "")}
    assert sorted(steps.values()) == [f"part {number}" for number in range(4)]
    assert {call["step_id"] for call in reader.llm_calls(one.id or "")} == set(steps)
    assert {call["step_id"] for call in reader.tool_calls(one.id or "")} == set(steps)
    assert len(reader.runs()) == 1


def test_facts_scores_tags_and_users_can_be_added_while_a_span_is_open(
    tracer: Tracer, stored: Stored
) -> None:
    with tracer.run("agent", tags=["a"]) as run:
        run.set_user("ada")
        run.add_tags("b", "a")
        run.set(tier="gold").score("helpful", 0.9, "short and right")
        for number in range(2):
            run.record_error(RuntimeError(f"survived {number}"))
        with run.llm("cent") as call:
            call.set(prompt_version=3).score("grounded", 1)
    reader = stored()
    row = reader.run("last")
    assert (row["user_id"], row["tags"], row["status"]) == ("ada", '["a","b"]', "success")
    assert row["attributes"] == (
        '{"errors":["RuntimeError: survived 0","RuntimeError: survived 1"],"tier":"gold"}'
    )
    [call_row] = reader.llm_calls(row["id"])
    assert call_row["attributes"] == '{"prompt_version":3}'
    scores = reader.query("select span_id, name, value, comment from scores order by created_at")
    assert [tuple(score.values()) for score in scores] == [
        (row["id"], "helpful", 0.9, "short and right"),
        (call_row["id"], "grounded", 1.0, None),
    ]


def test_s10_a_call_twice_as_slow_as_the_one_before_is_marked(
    tracer: Tracer, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0
    monkeypatch.setattr("tokentrace_core.ids.Clock.now", lambda _: clock)
    with tracer.run("agent") as run:
        for latency_ms in (100, 200, 401, 300):
            with run.llm("cent") as call:
                clock += latency_ms * 1_000
                call.done(ANSWER)
    marks = [row["attributes"] for row in stored().llm_calls(run.id or "")]
    slow = '{"prev_latency_ms":200.0,"warning":"latency_doubled"}'
    assert marks == [None, None, slow, None]


def test_a_fault_of_ours_inside_a_block_never_reaches_the_user(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug of tokentrace")

    for verb in (
        "open_run",
        "open_step",
        "open_llm",
        "open_tool",
        "close_run",
        "fail",
        "note",
        "describe_run",
    ):
        monkeypatch.setattr(tracer.recorder, verb, broken)
    with (
        tracer.run("agent") as run,
        run.step() as step,
        step.llm("cent") as call,
        step.tool("lookup") as tool,
    ):
        tool.done("found")
        call.done(ANSWER)
        run.set(fact=1).score("helpful", 1)
        run.set_user("ada")
    assert (run.id, run.cost_usd, run.steps) == (None, 0, 0)
