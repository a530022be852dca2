"""Blocks in hands that never read the manual: nothing raises into the agent but what is wrong as it is written."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from tokentrace_core import Budget, BudgetExceeded, Tracer, Usage, context
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]
TABLES = {"run": "runs", "step": "steps", "llm": "llm_calls", "tool": "tool_calls"}


class NoTruth:
    """As a numpy array or a dataframe: it cannot be asked whether it is true."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    def __len__(self) -> int:
        raise ValueError("no length either")


# ── entered again ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["step", "llm", "tool"])
def test_a_block_entered_again_while_it_is_open_is_a_span_for_each_entry(
    tracer: Tracer, stored: Stored, kind: str
) -> None:
    with tracer.run("agent"):
        block = getattr(tracer, kind)("part")
        with block, block:
            inner = block.span
        assert block.span is not inner
    with tracer.run("later"):
        pass
    rows = stored().query(f"select status, name from {TABLES[kind]}" if kind != "llm" else
                          "select status, model as name from llm_calls")  # fmt: skip
    assert [(row["status"], row["name"]) for row in rows] == [("success", "part")] * 2
    assert {(row["name"], row["status"]) for row in stored().runs()} == {
        ("agent", "success"),
        ("later", "success"),
    }


def test_a_run_entered_again_while_it_is_open_is_its_own_nested_agent_and_swallows_no_later_run(
    tracer: Tracer, stored: Stored
) -> None:
    run = tracer.run("first")
    with run:
        run.set_output("outer")
        with run, run.step("inside"):
            run.set_output("inner")
    with tracer.run("second"):
        pass
    assert [(row["name"], row["status"], row["output"]) for row in stored().runs()] == [
        ("second", "success", None),
        ("first", "success", "outer"),
    ]


def test_an_error_in_a_recursive_agent_with_one_step_of_its_own_is_the_agents_own(
    tracer: Tracer, stored: Stored
) -> None:
    step = tracer.step("think")

    def think(depth: int) -> None:
        with step:
            if depth == 0:
                raise KeyError("4711")
            think(depth - 1)

    with pytest.raises(KeyError), tracer.run("agent"):
        think(3)
    assert [row["status"] for row in stored().query("select status from steps")] == ["failure"] * 4


def test_a_session_entered_again_is_left_as_often(tracer: Tracer, stored: Stored) -> None:
    session = tracer.session("s")
    with session:
        with session, tracer.run("inner"):
            pass
        with tracer.run("between"):
            pass
    with tracer.run("after"):
        pass
    sessions = {row["name"]: row["session_id"] for row in stored().runs()}
    assert (sessions["inner"], sessions["between"]) == ("s", "s")
    assert sessions["after"] != "s"
    assert context.current_session() is None


def test_tasks_that_share_one_block_close_each_their_own_entry(tracer: Tracer, stored: Stored) -> None:
    async def work(step: Any, number: int) -> None:
        async with step:
            await asyncio.sleep(0.01 * (3 - number % 3))
            step.set(number=number)
            async with tracer.tool(f"tool {number}"):
                await asyncio.sleep(0)

    async def main() -> None:
        async with tracer.run("agent"):
            step = tracer.step("shared")
            await asyncio.gather(*(work(step, number) for number in range(6)))

    asyncio.run(main())
    reader = stored()
    steps = {row["id"]: row for row in reader.query("select id, status, attributes from steps")}
    numbers = {row["attributes"]: row["status"] for row in steps.values()}
    assert numbers == {f'{{"number":{number}}}': "success" for number in range(6)}
    for tool in reader.query("select name, step_id from tool_calls"):
        assert steps[tool["step_id"]]["attributes"] == f'{{"number":{tool["name"][-1]}}}'


def test_threads_that_share_one_block_close_each_their_own_entry(tracer: Tracer, stored: Stored) -> None:
    together = threading.Barrier(4, timeout=10)
    with tracer.run("agent") as run, ThreadPoolExecutor(4) as pool:
        step = run.step("shared")

        def work(number: int) -> None:
            together.wait()
            with step:
                together.wait()
                step.set(number=number)
                together.wait()

        list(pool.map(work, range(4)))
    rows = stored().query("select status, attributes from steps")
    assert sorted((row["status"], row["attributes"]) for row in rows) == [
        ("success", f'{{"number":{number}}}') for number in range(4)
    ]


def test_a_block_left_in_another_context_or_out_of_order_leaves_nothing_behind(
    tracer: Tracer, stored: Stored
) -> None:
    run, call = tracer.run("outer"), tracer.llm("gpt-4o")
    run.__enter__()
    call.__enter__()
    run.__exit__(None, None, None)
    call.__exit__(None, None, None)
    elsewhere = tracer.run("elsewhere")
    copy_context().run(elsewhere.__enter__)
    elsewhere.__exit__(None, None, None)
    assert list(context.frames_of(tracer.recorder)) == []
    assert {(row["name"], row["status"]) for row in stored().runs()} == {
        ("outer", "success"),
        ("elsewhere", "success"),
    }


# ── odd values ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_reply_that_cannot_be_asked_for_its_truth_does_not_cost_the_call(
    tracer: Tracer, stored: Stored
) -> None:
    @tracer.tool
    def pages() -> Any:
        yield NoTruth()

    with tracer.run("agent") as run:
        with run.llm("gpt-4o") as call:
            call.done(NoTruth(), usage=Usage(input_uncached_tokens=7, output_tokens=5))
        with run.tool("look") as tool:
            tool.done(NoTruth())
        list(pages())
    reader = stored()
    [row] = reader.llm_calls(run.id or "")
    assert (row["status"], row["usage_source"], row["output_tokens"]) == ("success", "reported", 5)
    results = [row["result"] for row in reader.tool_calls(run.id or "")]
    assert all("NoTruth" in result for result in results)


@pytest.mark.parametrize("messages", [None, 5, NoTruth(), b"bytes", iter([{"role": "user"}])])
@pytest.mark.parametrize("system", [None, "be brief", NoTruth()])
def test_a_prompt_that_is_no_list_costs_neither_the_call_nor_the_budgets_word_on_it(
    tracer: Tracer, stored: Stored, messages: Any, system: Any
) -> None:
    with tracer.run("agent") as run, tracer.llm("gpt-4o", messages=messages, system=system) as call:
        call.done("hi")
    [row] = stored().llm_calls(run.id or "")
    assert (row["status"], row["prompt_id"] is None) == ("success", system is None)


def test_the_prompt_that_is_an_iterator_is_still_whole_for_the_client(tracer: Tracer) -> None:
    messages = iter([{"role": "user", "content": "hi"}])
    with tracer.llm("gpt-4o", messages=messages, system="be brief"):
        assert len(list(messages)) == 1


def test_a_call_without_messages_is_still_stopped_by_the_budget(db: Any) -> None:
    with Tracer(db, budget=Budget(steps=1)) as tracer:
        with tracer.run("agent") as run:
            with run.llm("gpt-4o", messages=None, system="be brief"):
                pass
            with pytest.raises(BudgetExceeded), run.llm("gpt-4o", messages=None, system="be brief"):
                pass


# ── wrong arguments ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["metadata", "usr", "key", "resume"])
def test_an_argument_that_a_run_does_not_have_is_refused_where_it_is_written(
    tracer: Tracer, name: str
) -> None:
    with pytest.raises(TypeError, match=rf"run\(\) has no argument '{name}'; it takes session, user, input"):
        tracer.run("agent", **{name: "bob"})


def test_an_argument_that_a_tool_does_not_have_is_refused_where_it_is_written(tracer: Tracer) -> None:
    untyped: Any = tracer
    run: Any = tracer.run("agent")
    for tool in (untyped.tool, run.tool, run.step("think").tool):
        with pytest.raises(TypeError, match=r"tool\(\) has no argument 'foo'; it takes tool_call_id, kind"):
            tool("lookup", {}, foo=1)


@pytest.mark.parametrize("name", ["session_id", "user_id", "metadata"])
def test_a_sessions_id_given_under_another_name_does_not_become_metadata(tracer: Tracer, name: str) -> None:
    with pytest.raises(TypeError, match=rf"'{name}'.*`id`.*`user=`"):
        tracer.session(**{name: "mine"})
    assert tracer.session("mine", user="ada", channel="web").info.metadata == {"channel": "web"}


# ── functions of every make ──────────────────────────────────────────────────────────────────────────────


def test_a_function_that_does_not_say_its_arguments_can_be_a_tool(tracer: Tracer, stored: Stored) -> None:
    with tracer.run("agent") as run:
        assert tracer.tool(max)(3, 9) == 9
        assert tracer.tool(int)("7") == 7
        assert tracer.tool(functools.partial(int, "5"))() == 5
        assert tracer.tool(max)([1, 2], key=abs) == 2
    rows = stored().tool_calls(run.id or "")
    assert [row["name"] for row in rows] == ["max", "int", "partial", "max"]
    assert [row["arguments"] for row in rows[:2]] == ["[3,9]", '["7"]']
    assert rows[3]["arguments"].startswith('{"args":[[1,2]]')


def test_what_is_no_function_is_refused_when_it_is_decorated(tracer: Tracer) -> None:
    with pytest.raises(TypeError, match="'int' is not a function"):
        tracer.tool("lookup")(5)  # type: ignore[arg-type]


def test_a_decorator_above_staticmethod_and_classmethod_is_as_good_as_below(
    tracer: Tracer, stored: Stored
) -> None:
    class Shop:
        @tracer.tool
        @staticmethod
        def static(order: int) -> int:
            return order

        @tracer.tool("by class")
        @classmethod
        def of_class(cls, order: int) -> tuple[type, int]:
            return cls, order

    with tracer.run("agent") as run:
        assert (Shop.static(1), Shop().static(2)) == (1, 2)
        assert (Shop.of_class(3), Shop().of_class(4)) == ((Shop, 3), (Shop, 4))
    rows = stored().tool_calls(run.id or "")
    assert [(row["name"], row["arguments"]) for row in rows] == [
        ("static", '{"order":1}'),
        ("static", '{"order":2}'),
        ("by class", '{"order":3}'),
        ("by class", '{"order":4}'),
    ]


@pytest.fixture(autouse=True)
def _no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> Any:
    """What users do wrong is no fault of ours: nothing may have been caught by the shield."""
    yield
    faults = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [fault for fault in faults if "_open" in fault or "_close" in fault] == []
