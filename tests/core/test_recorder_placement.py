"""Where a call belongs: found by the frameworks' ids, whatever order and thread their reports come in."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from tests.core.conftest import Ear
from tokentrace_core import Usage
from tokentrace_core.recorder import Recorder

USED = Usage(input_uncached_tokens=1_000, output_tokens=100)
USED_NANO = 3_500_000  # of gpt-4o: 1,000 at 2.50 $ and 100 at 10 $ per million


def asks_for(*tool_call_ids: str) -> dict[str, Any]:
    calls = [{"id": each, "name": "lookup", "arguments": {}} for each in tool_call_ids]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def test_calls_below_a_chain_belong_to_its_run_and_to_one_loop(recorder: Recorder, ear: Ear) -> None:
    run = recorder.open_run("run", "triage", session="s", user="ada")
    recorder.nest("chain", "run", "executor")
    recorder.open_llm("think", parent="chain", model="gpt-4o")
    recorder.close_llm("think", usage=USED, output=asks_for("c1"))
    recorder.open_tool("act", "lookup", parent="chain", tool_call_id="c1")
    recorder.close_tool("act", "found")
    recorder.open_llm("think again", parent="chain", model="gpt-4o")
    recorder.close_llm("think again", usage=USED)
    recorder.close_run("run", output="done")

    first, second = ear.steps
    assert [call.step_id for call in ear.llm_calls] == [first.id, second.id]
    assert [call.step_id for call in ear.tool_calls] == [first.id]
    assert [(step.number, step.agent_step, step.agent) for step in ear.steps] == [
        (1, 1, "triage"),
        (2, 2, "triage"),
    ]
    assert (run.status, run.steps, run.llm_calls, run.tool_calls) == ("success", 2, 2, 1)
    assert (run.cost_nano_usd, run.input_tokens, run.output_tokens) == (2 * USED_NANO, 2_000, 200)
    assert (run.session_id, run.user_id, run.output and run.output.value) == ("s", "ada", "done")


def test_an_agent_under_a_tool_counts_its_own_steps_and_names_the_tool_call_that_spawned_it(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("run", "boss")
    recorder.open_llm("ask", parent="run", model="gpt-4o")
    recorder.close_llm("ask", usage=USED, output=asks_for("c1"))
    recorder.open_tool("delegate", "research", parent="run", tool_call_id="c1")
    recorder.nest("agent", "delegate", "researcher")
    for turn in ("one", "two"):
        recorder.open_llm(turn, parent="agent", model="gpt-4o")
        recorder.close_llm(turn, usage=USED)
    inner = recorder.loop_of("delegate")
    recorder.close_tool("delegate", "report")
    recorder.open_llm("sum up", parent="run", model="gpt-4o")
    recorder.close_llm("sum up", usage=USED)
    recorder.close_run("run")

    delegate = ear.tool_calls[0]
    assert [(step.number, step.agent_step, step.parent_call_id) for step in ear.steps] == [
        (1, 1, None),
        (2, 1, delegate.id),
        (3, 2, delegate.id),
        (4, 2, None),
    ]
    assert inner is not None
    assert (inner.cost_nano_usd, run.cost_nano_usd) == (2 * USED_NANO, 4 * USED_NANO)


def test_a_tool_is_placed_by_the_id_its_model_gave_it_even_when_later_steps_have_begun(
    recorder: Recorder, ear: Ear
) -> None:
    recorder.open_run("run", "agent")
    recorder.open_llm("first", parent="run", model="gpt-4o")
    recorder.close_llm("first", usage=USED, output=asks_for("slow", "quick"))
    recorder.open_tool("quick", "lookup", parent="run", tool_call_id="quick")
    recorder.close_tool("quick", 1)
    recorder.open_llm("second", parent="run", model="gpt-4o")
    recorder.open_tool("slow", "lookup", parent="run", tool_call_id="slow")
    recorder.open_tool("unasked", "lookup", parent="run", tool_call_id="nobody asked for this")
    first, second = ear.steps
    assert [call.step_id for call in ear.tool_calls] == [first.id, first.id, second.id]
    assert ear.told("step-ended") == []  # the first still waits for its slow tool
    recorder.close_tool("slow", 2)
    assert ear.told("step-ended") == [first]
    recorder.close_run("run")


def test_a_tool_without_an_id_is_the_call_of_its_name_and_arguments_that_the_model_asked_for(
    recorder: Recorder, ear: Ear
) -> None:
    asked = [
        {"id": each, "name": "add", "arguments": {"n": number}} for each, number in (("c1", 1), ("c2", 2))
    ]
    recorder.open_run("run", "agent")
    recorder.open_llm("think", parent="run", model="gpt-4o")
    reply = {"role": "assistant", "content": "", "tool_calls": asked}
    recorder.close_llm("think", usage=USED, output=reply)
    recorder.open_tool("second", "add", parent="run", arguments={"n": 2})
    recorder.open_tool("first", "add", parent="run", arguments={"n": "1"})
    recorder.open_tool("third", "add", parent="run", arguments={"n": 1})
    recorder.open_tool("other", "subtract", parent="run", arguments={"n": 1})
    assert [call.tool_call_id for call in ear.tool_calls] == ["c2", "c1", None, None]
    recorder.close_run("run")


def test_steps_take_the_name_of_the_part_they_are_in_unless_they_have_one(
    recorder: Recorder, ear: Ear
) -> None:
    recorder.open_run("run", "crew")
    recorder.nest("task", "run", "task", step_name="count")
    recorder.nest("agent", "task", "librarian")
    recorder.open_llm("one", parent="agent")
    recorder.open_llm("two", parent="agent", step_name="plan")
    recorder.open_llm("three", parent="run")
    assert [step.name for step in ear.steps] == ["count", "plan", None]
    recorder.close_run("run")


def test_parallel_model_calls_of_one_loop_are_steps_of_their_own_and_all_are_charged(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("run", "fan out")
    branches = [f"branch {n}" for n in range(5)]
    for branch in branches:
        recorder.open_llm(branch, parent="run", model="gpt-4o")
    for branch in reversed(branches):
        recorder.close_llm(branch, usage=USED)
    recorder.close_run("run")
    assert [call.step_id for call in ear.llm_calls] == [step.id for step in ear.steps]
    assert (run.steps, run.cost_nano_usd) == (5, 5 * USED_NANO)


def test_a_call_outside_any_run_gets_a_run_that_ends_as_the_call_did(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("alone", model="gpt-4o")
    recorder.close_llm("alone", usage=USED)
    recorder.open_tool("failing", "lookup")
    recorder.fail("failing", ValueError("no such order"))
    answered, failed = ear.runs
    assert (answered.name, answered.status, answered.cost_nano_usd) == ("gpt-4o", "success", USED_NANO)
    assert (failed.name, failed.status, failed.error_type) == ("lookup", "failure", "ValueError")
    assert recorder.open_parts == 0


def test_calls_inside_a_call_that_has_no_run_share_its_implicit_run(recorder: Recorder, ear: Ear) -> None:
    recorder.open_tool("outer", "pipeline")
    recorder.open_llm("inner", parent="outer", model="gpt-4o")
    recorder.close_tool("outer", "ended before its part")
    assert ear.told("run-ended") == []
    recorder.close_llm("inner", usage=USED)
    [run] = ear.runs
    assert (run.status, run.tool_calls, run.llm_calls) == ("success", 1, 1)


def test_a_call_with_an_unknown_parent_belongs_to_the_run_its_code_runs_in(tracer: Any) -> None:
    with tracer.run("agent") as run:
        call = tracer.recorder.open_llm("call", parent="nobody knows this id", model="gpt-4o")
        tracer.recorder.close_llm("call", usage=USED)
    assert call.run_id == run.id
    assert run.span.llm_calls == 1


def test_code_that_outlives_the_step_it_was_begun_in_still_belongs_to_the_run(tracer: Any) -> None:
    with tracer.run("agent") as run:
        with run.step("spawn a background task"):
            left_behind = contextvars.copy_context()
        call = left_behind.run(tracer.recorder.open_llm, "late", model="gpt-4o")
        tracer.recorder.close_llm("late", usage=USED)
    assert call.run_id == run.id


def test_a_tool_called_after_the_users_own_step_is_the_acting_that_follows_the_thinking(tracer: Any) -> None:
    with tracer.run("agent") as run:
        with run.step("plan") as plan:
            pass
        left_at = plan.span.ended_at
        with run.tool("lookup") as lookup:
            pass
    assert lookup.span.step_id == plan.span.id
    assert plan.span.ended_at == lookup.span.ended_at >= left_at
    assert run.steps == 1


def test_a_locator_that_breaks_costs_nothing_and_one_that_works_places_the_call(
    recorder: Recorder, ear: Ear
) -> None:
    def broken() -> str:
        raise RuntimeError("framework internals changed")

    run = recorder.open_run("run", "agent")
    recorder.nest("node", "run")
    recorder.add_locator(broken)
    recorder.add_locator(lambda: "node")
    recorder.open_llm("call", model="gpt-4o")
    recorder.close_llm("call", usage=USED)
    assert [call.run_id for call in ear.llm_calls] == [run.id]


def test_p5_a_model_call_inside_a_model_call_is_recorded_and_charged_once(
    recorder: Recorder, ear: Ear
) -> None:
    run = recorder.open_run("run", "llama-index over langchain")
    recorder.open_llm("outer", parent="run", model="gpt-4o")
    recorder.open_llm("inner", parent="outer", model="gpt-4o")
    recorder.close_llm("inner", usage=USED)
    recorder.close_llm("outer", usage=USED)
    recorder.close_run("run")
    outer, inner = ear.llm_calls
    assert (outer.cost_status, outer.cost_nano_usd, outer.attributes["wraps"]) == ("free", 0, inner.id)
    assert (inner.cost_nano_usd, run.cost_nano_usd, run.output_tokens) == (USED_NANO, USED_NANO, 100)
    assert (outer.step_id, run.steps) == (inner.step_id, 1)


def test_the_same_call_reported_by_two_handlers_is_recorded_once(recorder: Recorder, ear: Ear) -> None:
    openings: list[Callable[[], object]] = [
        lambda: recorder.open_run("run", "agent"),
        lambda: recorder.open_step("step", "plan", parent="run"),
        lambda: recorder.open_llm("llm", parent="step", model="gpt-4o"),
        lambda: recorder.open_tool("tool", "lookup", parent="step"),
    ]
    for opening in openings:
        opening()
        opening()
    for _ in range(2):
        recorder.close_tool("tool", "found")
        recorder.close_llm("llm", usage=USED)
        recorder.close_step("step")
    assert [name for name, _ in ear.events if name.endswith("-started")] == [
        "session-started",
        "run-started",
        "step-started",
        "llm-call-started",
        "tool-call-started",
    ]
    recorder.close_run("run")
    recorder.close_run("run")


def test_a_run_of_a_thousand_nested_levels_is_recorded_to_its_last_leaf(recorder: Recorder, ear: Ear) -> None:
    run = recorder.open_run(0, "deep")
    for level in range(1, 1_001):
        recorder.open_tool(level, f"agent {level}", parent=level - 1)
    recorder.open_llm("leaf", parent=1_000, model="gpt-4o")
    recorder.close_llm("leaf", usage=USED)
    assert run.cost_nano_usd == USED_NANO
    recorder.close_run(0)
    assert [call.status for call in ear.tool_calls] == ["cancelled"] * 1_000
    assert ear.steps[-1].parent_call_id == ear.tool_calls[-1].id


def test_what_a_client_reports_inside_a_call_of_its_own_is_that_call(recorder: Recorder, ear: Ear) -> None:
    run = recorder.open_run("run", "agent")
    outer = recorder.open_llm("complete", parent="run", model="gpt-4o", client="mine")
    assert recorder.open_llm("chat", parent="complete", model="gpt-4o", client="mine") is None
    assert recorder.open_llm("chat of chat", parent="chat", model="gpt-4o", client="mine") is None
    recorder.close_llm("chat of chat", usage=USED)
    recorder.close_llm("chat", usage=USED)
    recorder.close_llm("complete", usage=USED)
    recorder.open_llm("next", parent="run", model="gpt-4o", client="mine")
    recorder.close_llm("next", usage=USED)
    recorder.close_run("run")
    assert ear.llm_calls[0] is outer
    assert (run.llm_calls, run.steps, run.cost_nano_usd) == (2, 2, 2 * USED_NANO)


def test_a_call_reported_twice_outside_any_run_ends_its_run_once(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("complete", model="gpt-4o", client="mine")
    recorder.open_llm("chat", parent="complete", model="gpt-4o", client="mine")
    recorder.close_llm("chat", usage=USED)
    recorder.close_llm("complete", usage=USED)
    assert [run.status for run in ear.runs] == ["success"]
    assert recorder.open_parts == 0


def test_another_client_inside_a_call_is_a_call_of_its_own(recorder: Recorder, ear: Ear) -> None:
    recorder.open_llm("proxy", model="gpt-4o", client="proxy")
    recorder.open_llm("real", parent="proxy", model="gpt-4o", client="real")
    recorder.close_llm("real", usage=USED)
    recorder.close_llm("proxy", usage=USED)
    assert [call.cost_nano_usd for call in ear.llm_calls] == [0, USED_NANO]


def test_an_embedding_belongs_to_the_step_under_way(recorder: Recorder, ear: Ear) -> None:
    run = recorder.open_run("run", "reader")
    recorder.open_tool("look up", "library", parent="run", kind="retrieval")
    recorder.open_llm("embed", parent="look up", model="text-embedding-3-small", kind="embedding")
    recorder.close_llm("embed", usage=Usage(input_uncached_tokens=5))
    recorder.close_tool("look up", "found")
    recorder.open_llm("think", parent="run", model="gpt-4o")
    recorder.close_llm("think", usage=USED)
    recorder.close_run("run")
    assert run.steps == 2
    assert ear.llm_calls[0].step_id == ear.tool_calls[0].step_id == ear.steps[0].id


def test_a_key_is_known_from_its_opening_to_the_end_of_its_run(recorder: Recorder) -> None:
    assert not recorder.knows("run")
    recorder.open_run("run", "agent")
    recorder.nest("part", "run")
    assert recorder.knows("run")
    assert recorder.knows("part")
    recorder.close_run("run")
    assert not recorder.knows("part")
