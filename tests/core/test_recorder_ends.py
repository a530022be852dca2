"""How things end: late, early, never, or after a human has answered. Nothing may stay open or be lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.core.conftest import Ear
from tokentrace_core import Budget, BudgetExceeded, Run, Tracer, Usage
from tokentrace_core.recorder import Recorder
from tokentrace_core.replies import Reply

USED = Usage(input_uncached_tokens=1_000, output_tokens=100)
USED_NANO = 3_500_000
QUESTION = [{"role": "user", "content": "x" * 4_000}]

Make = Callable[..., tuple[Recorder, Ear]]


def test_an_end_that_overtakes_its_start_is_kept_until_the_start_arrives(
    recorder: Recorder, ear: Ear
) -> None:
    recorder.open_run("run", "crew")
    recorder.close_llm("llm", usage=USED, stop_reason="stop")
    recorder.close_tool("tool", "found")
    recorder.fail("broken", KeyError("order"))
    recorder.close_step("step", "because")
    recorder.open_llm("llm", parent="run", model="gpt-4o")
    recorder.open_tool("tool", "lookup", parent="run")
    recorder.open_tool("broken", "lookup", parent="run")
    recorder.open_step("step", "plan", parent="run")
    assert [(call.status, call.cost_nano_usd, call.stop_reason) for call in ear.llm_calls] == [
        ("success", USED_NANO, "stop")
    ]
    assert [(call.status, call.error_type) for call in ear.tool_calls] == [
        ("success", None),
        ("failure", "KeyError"),
    ]
    assert ear.told("step-ended")[-1].reasoning.value == "because"


def test_a_run_whose_end_came_first_is_over_as_soon_as_it_begins(recorder: Recorder, ear: Ear) -> None:
    recorder.close_run("run", output="at once")
    run = recorder.open_run("run", "short")
    assert (run.status, run.output and run.output.value) == ("success", "at once")
    assert recorder.open_parts == 0


def test_an_end_that_comes_twice_or_after_the_run_changes_nothing(recorder: Recorder, ear: Ear) -> None:
    recorder.open_run("run", "agent")
    recorder.open_llm("llm", parent="run", model="gpt-4o")
    recorder.close_llm("llm", usage=USED)
    recorder.fail("llm", RuntimeError("too late"))
    run = ear.runs[0]
    recorder.close_run("run", output="answer")
    told = len(ear.events)
    recorder.fail("run", RuntimeError("too late"))
    recorder.close_llm("llm", usage=USED)
    assert len(ear.events) == told
    assert (run.status, ear.llm_calls[0].status, run.cost_nano_usd) == ("success", "success", USED_NANO)


def test_p18_a_model_call_that_a_run_leaves_open_is_cancelled_and_its_cost_estimated(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("run", "agent")
    recorder.open_llm("abandoned", parent="run", model="gpt-4o", messages=QUESTION)
    recorder.open_tool("hanging", "lookup", parent="run")
    recorder.close_run("run")
    [call] = ear.llm_calls
    assert (call.status, call.usage_source, call.cost_status) == ("cancelled", "estimated", "priced")
    assert 1_000 <= call.input_uncached_tokens <= 1_020  # 4,000 bytes and their envelope, four to a token
    assert call.cost_nano_usd == call.input_uncached_tokens * 2_500
    assert (run.status, run.estimated_calls, run.cost_nano_usd) == ("success", 1, call.cost_nano_usd)
    assert [call.status for call in ear.tool_calls] == ["cancelled"]


@pytest.mark.parametrize(
    ("error", "status", "billed"),
    [
        (GeneratorExit(), "cancelled", True),
        (asyncio.CancelledError(), "cancelled", True),
        (TimeoutError("no answer"), "timeout", True),
        (RuntimeError("rate limit"), "failure", False),
    ],
)
def test_a_call_that_was_broken_off_is_billed_and_one_the_provider_refused_is_not(
    recorder: Recorder, ear: Ear, error: BaseException, status: str, billed: bool
) -> None:
    recorder.open_llm("call", model="gpt-4o", messages=QUESTION)
    recorder.fail("call", error)
    [call], [run] = ear.llm_calls, ear.runs
    assert (call.status, run.status) == (status, status)
    assert (call.cost_nano_usd or 0) > 0 if billed else call.cost_nano_usd == 0
    assert (call.error is None) == (status == "cancelled")


def test_what_had_arrived_of_a_broken_stream_is_kept_and_billed_as_reported(
    recorder: Recorder, ear: Ear
) -> None:
    recorder.open_llm("call", model="gpt-4o")
    recorder.fail(
        "call", RuntimeError("connection lost"), arrived=Reply(usage=USED, output={"content": "half an ans"})
    )
    [call] = ear.llm_calls
    assert (call.status, call.cost_nano_usd, call.usage_source) == ("failure", USED_NANO, "reported")
    assert call.output is not None
    assert call.output.value == {"content": "half an ans"}


def test_p10_an_answer_from_a_local_cache_costs_nothing_and_says_what_it_saved(
    recorder: Recorder, ear: Ear
) -> None:
    recorder.open_llm("call", model="gpt-4o")
    recorder.close_llm("call", usage=USED, cached=True)
    [call] = ear.llm_calls
    assert (call.cost_status, call.cost_nano_usd, call.attributes["tokens_saved"]) == ("cached", 0, 1_100)


@pytest.mark.parametrize("alone", [True, False])
def test_p15_the_oldest_of_too_many_open_runs_is_given_up_whoever_opened_it(
    make_recorder: Make, alone: bool
) -> None:
    recorder, ear = make_recorder(open_runs=3)
    for number in range(50):
        if not alone:
            recorder.open_run(number, f"run {number}")
        recorder.open_llm(("stream", number), parent=number, model="gpt-4o")
    assert recorder.open_parts == 3 * 2
    assert [run.status for run in ear.runs] == ["interrupted"] * 47 + ["running"] * 3
    assert {call.status for call in ear.llm_calls[:47]} == {"interrupted"}


def test_p15_a_run_that_has_gone_silent_is_given_up_although_an_older_one_is_busy(
    make_recorder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("tokentrace_core.runs.time.monotonic", lambda: now)
    recorder, _ = make_recorder(idle_s=60)
    busy = recorder.open_run("busy", "server loop")
    silent = recorder.open_run("silent", "never ends")
    now += 50
    recorder.open_tool("ping", "ping", parent="busy")
    now += 50
    recorder.open_run("next", "next request")
    assert (busy.status, silent.status) == ("running", "interrupted")


def test_p15_five_thousand_runs_leave_nothing_behind(make_recorder: Make) -> None:
    recorder, _ = make_recorder(open_runs=100)
    for number in range(5_000):
        recorder.open_run(number, "request")
        recorder.open_llm(("llm", number), parent=number, model="gpt-4o")
        if number % 10:
            recorder.close_llm(("llm", number), usage=USED)
            recorder.close_run(number)
    recorder.close_all()
    assert recorder.open_parts == 0


def test_a_run_of_any_length_holds_a_bounded_number_of_finished_parts(recorder: Recorder) -> None:
    recorder.open_run("run", "long")
    for number in range(2_000):
        recorder.open_tool(number, "poll", parent="run")
        recorder.close_tool(number)
    assert recorder.open_parts < 600
    recorder.close_run("run")


def test_a_run_that_waits_for_a_human_is_no_error_and_goes_on_where_it_stopped(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("first", "agent", session="thread-1")
    recorder.open_llm("ask", parent="first", model="gpt-4o")
    recorder.close_llm("ask", usage=USED)
    recorder.wait("first", "may I delete it?")
    recorder.close_run("first")
    assert (run.status, run.attributes["waiting_for"]) == ("waiting", "may I delete it?")
    assert recorder.open_parts == 0

    resumed = recorder.open_run("second", "agent", session="thread-1", resume=True)
    assert (resumed.id, resumed.status, resumed.attributes) == (run.id, "running", {})
    recorder.open_llm("go on", parent="second", model="gpt-4o")
    recorder.close_llm("go on", usage=USED)
    recorder.close_run("second", output="deleted")
    assert (resumed.status, resumed.cost_nano_usd, resumed.steps) == ("success", 2 * USED_NANO, 2)
    assert ear.told("run-waiting") == [run]
    assert ear.told("run-ended") == [resumed]


def test_a_tool_that_waits_for_a_human_ends_as_waiting_and_so_does_its_run(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("run", "agent")
    recorder.open_tool("approve", "approve", parent="run")
    recorder.wait("approve")
    recorder.close_run("run")
    assert (ear.tool_calls[0].status, run.status) == ("waiting", "waiting")


@pytest.mark.parametrize(
    ("answered", "status", "told"), [(["a", "b"], "success", None), (["a"], "waiting", ["a?", "b?"])]
)
def test_a_run_that_never_returned_goes_on_when_all_tools_that_wait_are_called_again(
    recorder: Recorder, answered: list[str], status: str, told: Any
) -> None:
    run = recorder.open_run("run", "agent", session="thread-1")
    for tool in ("a", "b"):
        recorder.open_tool(f"ask {tool}", "approve", parent="run", tool_call_id=tool)
        recorder.wait(f"ask {tool}", f"{tool}?")
    for tool in answered:
        recorder.open_tool(f"answer {tool}", "approve", parent="run", tool_call_id=tool)
        recorder.close_tool(f"answer {tool}", "yes")
    recorder.close_run("run", output="done")
    assert (run.status, run.attributes.get("waiting_for")) == (status, told)


@pytest.mark.parametrize(("session", "status"), [("thread-1", "waiting"), (None, "cancelled")])
def test_a_run_that_is_put_aside_while_it_waits_still_waits_if_it_can_be_found_again(
    recorder: Recorder, session: str | None, status: str
) -> None:
    run = recorder.open_run("run", "agent", session=session)
    recorder.open_tool("ask", "approve", parent="run", tool_call_id="a")
    recorder.wait("ask", "a?")
    recorder.cancel("run")
    assert (run.status, run.error) == (status, None)


@pytest.fixture
def left_waiting(db: Path) -> Run:
    """A run of session thread-1 that another process left waiting after two calls."""
    with Tracer(db) as before:
        run = before.recorder.open_run("first", "agent", session="thread-1", input="the task", tags=["a"])
        for step in range(2):
            before.recorder.open_llm(step, parent="first", model="gpt-4o")
            before.recorder.close_llm(step, usage=USED)
        before.recorder.wait("first", "go on?")
    return run


def test_a_run_resumed_by_another_process_goes_on_counting_where_it_stopped(
    db: Path, left_waiting: Run
) -> None:
    with Tracer(db) as tracer:
        resumed = tracer.recorder.open_run("second", "agent", session="thread-1", resume=True)
        assert (resumed.id, resumed.tags, resumed.steps) == (left_waiting.id, ["a"], 2)
        tracer.recorder.open_llm("third", parent="second", model="gpt-4o")
        tracer.recorder.close_llm("third", usage=USED)
        tracer.recorder.close_run("second")
    with closing(sqlite3.connect(db)) as file:
        totals = file.execute("select id, status, steps, cost_nano_usd, input from runs").fetchall()
        steps = file.execute("select number, agent_step from steps order by number").fetchall()
    assert totals == [(left_waiting.id, "success", 3, 3 * USED_NANO, "the task")]
    assert steps == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("budget", "spent"), [(Budget("0.007"), r"\$0\.0070 of \$0\.0070"), (Budget(steps=2), "2 of 2 steps")]
)
@pytest.mark.usefixtures("left_waiting")
def test_a_run_resumed_by_another_process_has_spent_what_it_had_spent(
    db: Path, budget: Budget, spent: str
) -> None:
    with Tracer(db, budget=budget) as tracer:
        tracer.recorder.open_run("second", "agent", session="thread-1", resume=True)
        with pytest.raises(BudgetExceeded, match=spent):
            tracer.recorder.open_llm("third", parent="second", model="gpt-4o")


def test_a_session_with_nothing_waiting_begins_a_new_run(recorder: Recorder) -> None:
    recorder.open_run("first", "agent", session="a")
    assert recorder.open_run("second", "agent", session="b", resume=True).session_id == "b"


def test_a_stream_that_breaks_off_is_billed_for_its_pieces(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("stream", model="gpt-4o", messages=QUESTION)
    for piece in ("It ", "will ", "rain."):
        recorder.first_token("stream", text=piece, arrived=Reply(model="gpt-4o-2024-11-20"))
    recorder.cancel("stream")
    [call] = ear.llm_calls
    assert (call.status, call.usage_source, call.model_answered) == (
        "cancelled",
        "estimated",
        "gpt-4o-2024-11-20",
    )
    assert call.output_tokens
    assert call.output is not None
    assert call.output.value["content"] == "It will rain."


def test_what_only_an_earlier_piece_told_is_kept(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("stream", model="gpt-4o")
    recorder.first_token("stream", arrived=Reply(model="answered", stop_reason="stop", response_id="r"))
    recorder.first_token("stream", arrived=Reply())
    recorder.close_llm("stream", usage=USED)
    [call] = ear.llm_calls
    assert (call.model_answered, call.stop_reason, call.response_id) == ("answered", "stop", "r")


def test_a_failure_that_tells_its_usage_is_billed_for_that(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("parse", model="gpt-4o")
    recorder.first_token("parse", text="no JSON")
    recorder.fail("parse", ValueError("no JSON"), arrived=Reply(usage=USED))
    [call] = ear.llm_calls
    assert (call.status, call.usage_source, call.cost_nano_usd) == ("failure", "reported", USED_NANO)
