"""A budget holds: after the stop no request leaves the process, however the agent is built and called.

Every test scripts more turns than the budget pays for and counts the requests that the server really got.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import RetryPolicy

from tests.integrations.figures import statuses
from tests.integrations.langchain.agents import GO, Chat, add, agent, ask, asking, loop_of
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tests.loopback.clients import WIRES, chat_openai, langchain_model
from tokentrace_core import Budget, BudgetExceeded, PriceBook, Tracer, Usage
from tokentrace_core.store.reader import Reader, Row
from tokentrace_langchain import TokentraceHandler

ENOUGH = 12
ANSWERS = {"chat": "gpt-4o-mini", "responses": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
QUICK_RETRY: dict[str, Any] = {"wait_exponential_jitter": False, "stop_after_attempt": 2}
RETRY_POLICY = RetryPolicy(max_attempts=3, initial_interval=0.01, jitter=False)
TRYING_AGAIN: dict[str, Callable[[LoopbackServer], Any]] = {
    "agent with retry": lambda server: agent(server, add).with_retry(**QUICK_RETRY),
    "agent with fallback": lambda server: agent(server, add).with_fallbacks([agent(server, name="second")]),
    "model with retry": lambda server: loop_of(ask(chat_openai(server).with_retry(**QUICK_RETRY))),
    "model with fallback": lambda server: loop_of(
        ask(chat_openai(server).with_fallbacks([chat_openai(server, temperature=0)]))
    ),
    "node with retry policy": lambda server: loop_of(ask(chat_openai(server)), retry_policy=RETRY_POLICY),
}


@pytest.fixture(params=[TurnUsage(1000, 200), TurnUsage(100, 20)], ids=["dear", "cheap"])
def usage(request: pytest.FixtureRequest) -> TurnUsage:
    """What each model call uses."""
    usage: TurnUsage = request.param
    return usage


@pytest.fixture
def price(usage: TurnUsage) -> Decimal:
    """What each model call costs."""
    return price_of(usage)


@pytest.fixture
def budget(price: Decimal) -> Budget:
    """Two calls' worth."""
    return Budget(run_usd=2 * price)


@pytest.fixture
def looping(server: LoopbackServer, usage: TurnUsage) -> LoopbackServer:
    """A model that asks for one more tool call, again and again."""
    server.script(*[adding(1, 2, usage=usage)] * ENOUGH)
    return server


@pytest.fixture
def stopped_run(stored: Callable[[], Reader], server: LoopbackServer, price: Decimal) -> Callable[..., Row]:
    """The latest run, after checking that it says what a stopped run must say."""

    def check(calls: int = 2, *, cut_short: bool = False) -> Row:
        reader = stored()
        run = reader.run("last")
        check_stopped(reader, run, server, price, calls, cut_short=cut_short)
        return run

    return check


def check_stopped(
    reader: Reader,
    run: Row,
    server: LoopbackServer,
    price: Decimal,
    calls: int = 2,
    *,
    cut_short: bool = False,
) -> None:
    """The run says what a stopped run must say, and the server got what was paid for. `cut_short`: or less."""
    assert server.count <= calls if cut_short else server.count == calls
    assert (run["status"], run["error_type"]) == ("failure", "budget_exceeded")
    assert "of $" in run["error"]
    assert run["llm_calls"] == calls
    if not cut_short:
        assert run["cost_nano_usd"] == calls * price * 10**9
    refused = [call for call in reader.llm_calls(run["id"]) if call["status"] == "refused"]
    assert len(refused) == run["refused_calls"] == 1
    assert '"budget_stop":true' in refused[0]["attributes"]
    assert (refused[0]["error_type"], refused[0]["cost_nano_usd"]) == ("budget_exceeded", 0)
    assert "running" not in statuses(reader)


def price_of(usage: TurnUsage, model: str = "gpt-4o-mini") -> Decimal:
    tokens = Usage(input_uncached_tokens=usage.input, output_tokens=usage.output)
    cost = PriceBook().cost(model, tokens)
    assert cost is not None
    return cost


@pytest.mark.parametrize("wire", WIRES)
def test_p11_an_agent_makes_the_calls_its_budget_pays_for_and_not_one_more(
    call: Driver,
    server: LoopbackServer,
    wire: str,
    usage: TurnUsage,
    db: Path,
) -> None:
    server.script(*[adding(1, 2, usage=usage)] * ENOUGH)
    price = price_of(usage, ANSWERS[wire])
    with Tracer(db, budget=Budget(run_usd=2 * price)) as tracer:
        looping = create_agent(langchain_model(server, wire), [add], name="agent")
        with pytest.raises(BudgetExceeded, match=r"spent \$0\.\d+ of \$0\.\d+") as stop:
            call(looping, GO, {"callbacks": [TokentraceHandler(tracer)]})
        assert tracer.flush(10)
    assert (stop.value.scope, stop.value.spent, stop.value.limit) == ("run_usd", 2 * price, 2 * price)
    with Reader(db) as reader:
        [run] = reader.runs()
        check_stopped(reader, run, server, price)
    assert (run["steps"], run["tool_calls"], run["name"]) == (2, 2, "agent")


@pytest.mark.parametrize("call", ["stream", "astream"], indirect=True)
def test_p11_the_stop_holds_when_messages_are_streamed(
    call: Driver, looping: LoopbackServer, config: Any, stopped_run: Callable[..., Row]
) -> None:
    with pytest.raises(BudgetExceeded):
        call(agent(looping, add), GO, config, stream_mode="messages")
    stopped_run()


def test_p11_an_agent_inside_a_tool_spends_from_the_same_budget(
    call: Driver, server: LoopbackServer, usage: TurnUsage, config: Any, stopped_run: Callable[..., Row]
) -> None:
    asks = Turn(tool_calls=(ToolCall("ask", {"question": "how many?"}),), usage=usage)
    server.script(asks, *[adding(1, 2, usage=usage)] * ENOUGH)
    outer = agent(server, asking(agent(server, add, name="inner")), name="outer")
    with pytest.raises(BudgetExceeded):
        call(outer, GO, config)
    assert stopped_run()["name"] == "outer"


def test_p11_a_tool_node_that_turns_errors_into_messages_does_not_keep_the_agent_going(
    call: Driver, server: LoopbackServer, usage: TurnUsage, config: Any, stopped_run: Callable[..., Row]
) -> None:
    asks = Turn(tool_calls=(ToolCall("ask", {"question": "how many?"}),), usage=usage)
    server.script(asks, *[adding(1, 2, usage=usage)] * ENOUGH)
    ask_inner = asking(agent(server, add, name="inner"))
    graph = StateGraph(Chat)
    model = chat_openai(server).bind_tools([ask_inner])
    graph.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([ask_inner], handle_tool_errors=True))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    with pytest.raises(BudgetExceeded):
        call(graph.compile(name="outer"), GO, config)
    assert stopped_run()["name"] == "outer"


@pytest.mark.parametrize("build", TRYING_AGAIN.values(), ids=TRYING_AGAIN)
def test_p11_nothing_that_tries_again_gets_another_call(
    call: Driver,
    looping: LoopbackServer,
    build: Callable[[LoopbackServer], Any],
    config: Any,
    stopped_run: Callable[..., Row],
) -> None:
    with pytest.raises(BudgetExceeded):
        call(build(looping), GO, config)
    stopped_run()


@pytest.mark.parametrize("usage", [TurnUsage(100, 20)])
@pytest.mark.parametrize("node_is_async", [False, True], ids=["def", "async def"])
def test_p11_a_node_is_not_tried_again_for_a_stop_and_is_for_other_errors(
    runner: asyncio.Runner,
    server: LoopbackServer,
    usage: TurnUsage,
    config: Any,
    node_is_async: bool,
) -> None:
    attempts: list[int] = []
    model = chat_openai(server, max_retries=0)

    def think(state: Chat) -> dict[str, Any]:
        attempts.append(server.count)
        return {"messages": [model.invoke(state["messages"])]}

    async def think_async(state: Chat) -> dict[str, Any]:
        attempts.append(server.count)
        return {"messages": [await model.ainvoke(state["messages"])]}

    broken = Turn(status=500, headers={"x-should-retry": "false"})
    server.script(broken, *[Turn("on it", usage=usage)] * ENOUGH)
    loop = loop_of(think_async if node_is_async else think, retry_policy=RETRY_POLICY)
    with pytest.raises(BudgetExceeded):
        runner.run(loop.ainvoke(GO, config)) if node_is_async else loop.invoke(GO, config)
    # The first request fails and is made again; the fourth, which is not made, is not asked for twice.
    assert attempts == [0, 1, 2, 3]


def test_p11_code_that_swallows_the_stop_gets_no_further_call(
    call: Driver, looping: LoopbackServer, config: Any, stopped_run: Callable[..., Row]
) -> None:
    model, swallowed = chat_openai(looping), []

    def think_on(state: Chat) -> dict[str, Any]:
        for _ in range(5):
            try:
                model.invoke(state["messages"])
            except Exception as error:
                swallowed.append(type(error))
        return {"messages": [HumanMessage("gave up")]}

    graph = StateGraph(Chat)
    graph.add_node("think", think_on)
    graph.add_edge(START, "think")
    call(graph.compile(name="swallowing"), GO, config)
    assert swallowed == [BudgetExceeded] * 3
    stopped_run()


@pytest.mark.usefixtures("instrumented")
def test_p11_a_process_wide_handler_stops_agents_that_know_nothing_of_it(
    call: Driver, looping: LoopbackServer, stopped_run: Callable[..., Row]
) -> None:
    with pytest.raises(BudgetExceeded):
        call(agent(looping, add), GO)
    stopped_run()


def test_p11_each_item_of_a_batch_has_a_budget_of_its_own(
    server: LoopbackServer, usage: TurnUsage, config: Any, stored: Callable[[], Reader]
) -> None:
    server.answer_with(lambda body: adding(1, 2, usage=usage))
    results = agent(server, add).batch([GO] * 3, config, return_exceptions=True)
    assert [type(result) for result in results] == [BudgetExceeded] * 3
    assert server.count == 6
    runs = stored().runs()
    assert [(run["error_type"], run["llm_calls"]) for run in runs] == [("budget_exceeded", 2)] * 3


def test_p12_parallel_branches_cannot_all_spend_the_same_money(
    call: Driver, server: LoopbackServer, usage: TurnUsage, config: Any, stopped_run: Callable[..., Row]
) -> None:
    server.answer_with(lambda body: Turn("done", usage=usage, delay=0.05))
    # As long as the usage says, and with the longest reply known: a reservation is what the call will cost.
    model, question = chat_openai(server, max_tokens=usage.output), "x" * (4 * usage.input - 30)
    graph = StateGraph(Chat)
    for number in range(10):
        graph.add_node(f"branch{number}", lambda state: {"messages": [model.invoke(question)]})
        graph.add_edge(START, f"branch{number}")
    with pytest.raises(BudgetExceeded):
        call(graph.compile(name="parallel"), {"messages": []}, config)
    # The refused branch ends the graph, which waits for no other.
    stopped_run(cut_short=True)


def test_p12_a_branch_that_comes_late_does_not_begin_anew_what_the_budget_has_ended(
    call: Driver, server: LoopbackServer, usage: TurnUsage, config: Any, stopped_run: Callable[..., Row]
) -> None:
    """Its thread cannot be called off: the graph is over, and it has still to ask its model."""
    server.answer_with(lambda body: Turn("done", usage=usage, delay=0.05))
    model, question = chat_openai(server, max_tokens=usage.output), "x" * (4 * usage.input - 30)
    came: list[str] = []
    all_begun = threading.Barrier(5, timeout=20)  # what has not begun is called off

    def early(state: Chat) -> Any:
        all_begun.wait()
        return {"messages": [model.invoke(question)]}

    def late(state: Chat) -> Any:
        all_begun.wait()
        time.sleep(0.3)
        try:
            return {"messages": [model.invoke(question)]}
        except BudgetExceeded:
            came.append("refused")
            raise

    graph = StateGraph(Chat)
    for number in range(5):
        graph.add_node(f"branch{number}", late if number > 2 else early)
        graph.add_edge(START, f"branch{number}")
    with pytest.raises(BudgetExceeded):
        call(graph.compile(name="parallel"), {"messages": []}, config)
    deadline = time.monotonic() + 10
    while len(came) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert came == ["refused"] * 2
    stopped_run(cut_short=True)


@pytest.mark.parametrize("usage", [TurnUsage(100, 20)])
@pytest.mark.parametrize("budget", [Budget(steps=2)])
def test_p11_a_limit_of_steps_stops_the_third(
    call: Driver, looping: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    with pytest.raises(BudgetExceeded, match="2 of 2 steps") as stop:
        call(agent(looping, add), GO, config)
    assert (stop.value.scope, stop.value.spent, stop.value.limit) == ("steps", 2, 2)
    assert looping.count == 2
    run = stored().run("last")
    assert (run["status"], run["error_type"], run["steps"]) == ("failure", "budget_exceeded", 2)


@pytest.mark.parametrize("usage", [TurnUsage(100, 20)])
@pytest.mark.parametrize("budget", [Budget(run_usd=0)])
def test_p11_with_nothing_to_spend_nothing_is_sent(
    call: Driver, looping: LoopbackServer, config: Any, stopped_run: Callable[..., Row]
) -> None:
    with pytest.raises(BudgetExceeded, match="nothing is left"):
        call(agent(looping, add), GO, config)
    stopped_run(calls=0)


@pytest.mark.parametrize("usage", [TurnUsage(100, 20)])
@pytest.mark.parametrize("budget", [Budget(run_usd=0)])
def test_p11_a_model_called_without_an_agent_is_refused_too(
    call: Driver, looping: LoopbackServer, config: Any, stopped_run: Callable[..., Row]
) -> None:
    with pytest.raises(BudgetExceeded):
        call(chat_openai(looping), "go", config)
    stopped_run(calls=0)
