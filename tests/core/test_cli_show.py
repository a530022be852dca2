"""`tokentrace show`: the tree must hold every call, say who spent what, and never make up a figure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core import test_cli
from tests.core.test_cli import Cli, reply
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.analysis.spending import spending
from tokentrace_core.cli.tree import llm_calls, plain_tree, read_tree
from tokentrace_core.store.reader import Reader

tracer = test_cli.tracer
cli = test_cli.cli


@pytest.fixture
def nested_run(tracer: Tracer) -> None:
    """A boss whose one tool asks two workers; the first asks a third inside a tool of its own."""
    with tracer.run("boss") as run, run.step("plan"):
        with tracer.llm("small", messages="go") as call:
            call.done(reply(tools={"delegate": "{}"}, sent=1_000, cached=300))
        with tracer.tool("delegate", {"task": "dig"}) as tool:
            with tracer.run("worker"):
                with tracer.llm("small", messages="dig") as call:
                    call.done(reply(sent=100, got=0))
                with (
                    tracer.tool("ask_expert"),
                    tracer.run("expert"),
                    tracer.llm("foo-9", messages="?") as call,
                ):
                    call.done(reply(sent=10, got=1))
            with tracer.run("checker"), tracer.llm("small", messages="check") as call:
                call.done(reply(sent=200, got=0))
            tool.done("dug")


def test_nested_agents_hang_under_the_tool_that_spawned_them(nested_run: None, cli: Cli) -> None:
    shown = [line for line in cli("show", "last").output.splitlines() if "─ " in line]
    assert [line.split(" · ")[0] for line in shown] == [
        "└── step 1 plan",
        "    ├── llm small",
        '    └── tool delegate({"task":"dig"})',
        "        ├── worker » step 2",
        "        │   ├── llm small",
        "        │   └── tool ask_expert()",
        "        │       └── expert » step 3",
        "        │           └── llm foo-9",
        "        └── checker » step 4",
        "            └── llm small",
    ]


def test_what_a_step_cost_includes_the_agents_below_it(
    nested_run: None, stored: Callable[[], Reader]
) -> None:
    run = read_tree(stored(), "last")
    (step,) = run.children
    assert step.spent == run.spent
    assert run.spent.nano_usd == 1_230_000 + 100_000 + 200_000
    assert (run.spent.llm_calls, run.spent.unpriced_calls, run.spent.cached_tokens) == (4, 1, 300)
    assert run.spent.nano_usd == spending(stored()).total.cost_nano_usd


def test_two_recordings_of_the_same_work_read_the_same(
    nested_run: None, stored: Callable[[], Reader]
) -> None:
    run_id = stored().run("last")["id"]
    assert plain_tree(stored(), run_id) == (
        "run boss cost=0.00153 success\n"
        "  step plan agent=boss success\n"
        "    llm small input=700 cache_read=300 output=50 cost=0.00123 success\n"
        "    tool delegate success\n"
        "      step agent=worker success\n"
        "        llm small input=100 cost=0.0001 success\n"
        "        tool ask_expert success\n"
        "          step agent=expert success\n"
        "            llm foo-9 input=10 output=1 cost=unpriced success\n"
        "      step agent=checker success\n"
        "        llm small input=200 cost=0.0002 success\n"
    )


def test_deep_nesting_does_not_end_in_a_recursion_error(
    tracer: Tracer, cli: Cli, stored: Callable[[], Reader]
) -> None:
    def dig(depth: int) -> None:
        with tracer.llm("small", messages="deeper") as call:
            call.done(reply(sent=1, got=0))
        if depth:
            with tracer.tool("dig"):
                dig(depth - 1)

    with tracer.run("mole"):
        dig(150)
    assert cli("show", "last").exit_code == 0
    assert cli("show", "last", "--json").exit_code == 0
    assert len(llm_calls(read_tree(stored(), "last"))) == 151


def test_an_unknown_price_is_never_shown_as_zero(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r"), tracer.llm("foo-9", messages="x") as call:
        call.done(reply())
    shown = cli("show", "last").output
    assert "· unpriced ·" in shown
    assert "$0" not in shown
    assert "1 call unpriced, not in the cost: `tokentrace prices foo-9` shows how to price them." in shown


def test_an_estimate_is_never_shown_as_a_fact(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r"), tracer.llm("small", messages="abcd" * 1_000) as call:
        call.done("a plain text without usage")
    shown = cli("show", "last").output
    assert "≈1,0" in shown
    assert " in → ≈7 out · ≈$0.001" in shown
    assert "≈ 1 call estimated: no usage was reported. $0.001" in shown


def test_reasoning_and_cached_tokens_are_told_apart(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r"), tracer.llm("small", messages="x") as call:
        call.done(reply(sent=12_000, cached=8_000, got=600, thought=512))
    shown = cli("show", "last").output
    assert "12,000 in (8,000 cached) → 600 out (512 reasoning) · $0.0108" in shown
    assert "total  12,000 tokens in (8,000 cached), 600 out, $0.0108" in shown


def test_a_refused_call_stands_out_and_costs_nothing(db: Path, cli: Cli) -> None:
    with Tracer(db, budget=Budget(steps=1)) as strict:

        @strict.run("loop")
        def loop() -> None:
            for _ in range(2):
                with strict.llm("gpt-4o", messages="again") as call:
                    call.done(reply())

        with pytest.raises(BudgetExceeded):
            loop()
        assert strict.flush(10)
        shown = cli("show", "last").output
    assert "loop · ✗ failure" in shown
    assert "llm gpt-4o · ⛔ refused\n" in shown
    assert shown.count("budget_exceeded") == 2  # of the run and of the call


def test_a_failed_tool_shows_the_first_line_of_its_error(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r") as run, run.step("try"):
        with pytest.raises(LookupError), run.tool("find", {"id": 4}):
            raise LookupError("nothing there\nand a long story")
    shown = cli("show", "last").output
    assert 'tool find({"id":4}) · ✗ failure' in shown
    assert "LookupError: nothing there\n" in shown
    assert "long story" not in shown


def test_a_cancelled_and_an_open_call_do_not_look_like_successes(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r") as run:
        with pytest.raises(asyncio.CancelledError), run.tool("slow"):
            raise asyncio.CancelledError
        with run.llm("small", messages="x"):
            shown = cli("show", "last").output
    assert "tool slow() · ⊘ cancelled" in shown
    assert "llm small · ▸ running\n" in shown
    assert "r · ▸ running" in shown


def test_what_ran_out_of_time_does_not_look_like_a_success(tracer: Tracer, cli: Cli) -> None:
    @tracer.run("r")
    def run() -> None:
        with tracer.step("wait") as step:
            with pytest.raises(TimeoutError), step.tool("slow"):
                raise TimeoutError("no answer in 30 s")
            with step.llm("small", messages="x"):
                raise TimeoutError("the model is silent")

    with pytest.raises(TimeoutError):
        run()
    shown = cli("show", "last").output
    heading, *lines = shown.splitlines()
    assert heading.startswith("r · ✗ timeout · ")
    assert next(line for line in lines if "step 1 wait" in line).startswith("└── step 1 wait · ✗ timeout · ")
    assert "tool slow() · ✗ timeout · " in shown
    assert "TimeoutError: no answer in 30 s\n" in shown
    assert "llm small · ✗ timeout · " in shown
    assert "TimeoutError: the model is silent\n" in shown
    assert "✗ timeout" in cli("runs").output


def test_a_tools_own_cost_and_http_status_are_shown(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r") as run, run.tool("search", {"q": "x" * 500}) as tool:
        tool.done("x" * 1_234, http_status=200, cost_usd="0.005")
    line = next(line for line in cli("show", "last").output.splitlines() if "tool search" in line)
    assert "…) · HTTP 200 · → 1.2 kB · $0.0050 · " in line
    assert "total  0 tokens in (0 cached), 0 out, $0.0050" in cli("show", "last").output


# ── --json ───────────────────────────────────────────────────────────────────────────────────────────────


def test_json_has_the_tree_with_exact_money_and_utc_times(nested_run: None, cli: Cli) -> None:
    run = json.loads(cli("show", "last", "--json").output)
    assert (run["type"], run["name"], run["cost_usd"], run["cost_nano_usd"]) == (
        "run",
        "boss",
        "0.00153",
        1_530_000,
    )
    assert run["started_at"].endswith("Z")
    assert "T" in run["started_at"]
    (step,) = run["children"]
    llm, tool = step["children"]
    assert (llm["type"], llm["cost_usd"], llm["cache_read_tokens"]) == ("llm_call", "0.00123", 300)
    assert (tool["type"], tool["cost_usd"], tool["cost_nano_usd"]) == ("tool_call", None, None)
    assert [child["agent"] for child in tool["children"]] == ["worker", "checker"]
    expert = tool["children"][0]["children"][1]["children"][0]["children"][0]
    assert (expert["cost_status"], expert["cost_usd"]) == ("unpriced", None)


def test_the_keys_of_the_json_stay_what_others_build_on(nested_run: None, cli: Cli) -> None:
    run = json.loads(cli("show", "last", "--json").output)
    common = {"type", "id", "status", "error_type", "error", "started_at", "ended_at", "duration_ms"}
    common |= {"attributes", "children", "cost_usd", "cost_nano_usd"}
    totals = {"input_tokens", "cached_tokens", "output_tokens", "llm_calls", "unpriced_calls"}
    totals |= {"estimated_calls", "estimated_usd"}
    step = run["children"][0]
    llm, tool = step["children"]
    assert set(run) >= common | totals | {
        "name",
        "session_id",
        "user_id",
        "project",
        "framework",
        "tags",
        "steps",
    }
    assert set(step) == common | totals | {
        "number",
        "agent",
        "agent_step",
        "parent_call_id",
        "name",
        "reasoning",
    }
    assert set(llm) >= common | {"model", "provider", "kind", "usage_source", "cost_status", "stop_reason"}
    assert set(tool) == common | {
        "step_id",
        "kind",
        "name",
        "tool_call_id",
        "arguments",
        "result",
        "result_bytes",
        "http_status",
    }


# ── --messages ───────────────────────────────────────────────────────────────────────────────────────────

TOOL_REQUEST = {"lookup": '{"order_id": 4}'}


@pytest.fixture
def conversation(tracer: Tracer) -> None:
    """Two calls as OpenAI's client makes them: the answer comes back in the next prompt, in its own spelling."""
    asked = reply("let me look", tools=TOOL_REQUEST)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "where is my order?"},
    ]
    with tracer.run("triage") as run:
        with run.llm("small", messages=messages) as call:
            call.done(asked)
        messages.append(asked["choices"][0]["message"])
        messages.append({"role": "tool", "tool_call_id": "call_lookup", "content": '{"state": "late"}'})
        with run.llm("small", messages=messages) as call:
            call.done(reply("It is late."))


def test_each_message_is_printed_once_however_often_it_was_sent(conversation: None, cli: Cli) -> None:
    shown = cli("show", "last", "--messages").output
    said = shown[shown.index("── call 1") :]
    for text in (
        "be brief",
        "where is my order?",
        "let me look",
        '→ lookup({"order_id":4})',
        '{"state": "late"}',
        "It is late.",
    ):
        assert said.count(text) == 1, text
    order = [said.index(role) for role in ("system\n", "user\n", "assistant (answer)\n", "tool\n")]
    assert order == sorted(order)
    assert "(3 of its messages stand above)" in said


def test_the_same_words_said_twice_are_both_printed(tracer: Tracer, cli: Cli) -> None:
    messages = [{"role": "user", "content": "yes"}]
    with tracer.run("r") as run:
        for _ in range(2):
            with run.llm("small", messages=list(messages)) as call:
                call.done(reply("sure?"))
            messages += [{"role": "assistant", "content": "sure?"}, {"role": "user", "content": "yes"}]
    turns = json.loads(cli("show", "last", "--messages", "--json").output)["messages"]
    assert [[message["content"] for message in turn["new"]] for turn in turns] == [["yes"], ["yes"]]
    assert [turn["answer"]["content"] for turn in turns] == ["sure?", "sure?"]


def test_a_history_whose_start_was_cut_off_is_not_printed_again(tracer: Tracer, cli: Cli) -> None:
    history = [{"role": "user", "content": f"question {number}"} for number in range(6)]
    with tracer.run("r") as run:
        for window in (history[:5], history[2:]):
            with run.llm("small", messages=window) as call:
                call.done(reply("ok"))
    turns = json.loads(cli("show", "last", "--messages", "--json").output)["messages"]
    assert [message["content"] for message in turns[1]["new"]] == ["question 5"]
    assert turns[1]["repeated"] == 3


def test_blocks_of_content_read_as_text(tracer: Tracer, cli: Cli) -> None:
    blocks = [
        {"type": "text", "text": "look at this"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "42 rows"}]},
        {"type": "weird", "x": 1},
    ]
    request = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "t", "name": "sql", "input": {"q": "x"}}],
    }
    with (
        tracer.run("r"),
        tracer.llm("small", messages=[request, {"role": "user", "content": blocks}]) as call,
    ):
        call.done(reply("done"))
    shown = cli("show", "last", "--messages").output
    for line in ('→ sql({"q":"x"})', "look at this", "← result", "42 rows", '{"type":"weird","x":1}'):
        assert f"  {line}\n" in shown


def test_a_call_that_failed_says_so_where_its_answer_would_be(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r") as run, pytest.raises(ConnectionError):
        with run.llm("small", messages="x"):
            raise ConnectionError("reset by peer")
    shown = cli("show", "last", "--messages").output
    assert shown.rstrip().endswith("ConnectionError: reset by peer")
