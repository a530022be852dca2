"""A graceful end: who waits for an answer gets one, although the budget is used up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent

from tests.integrations.langchain.agents import GO, add
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Row
from tokentrace_langchain import TokentraceHandler
from tokentrace_langchain.middleware import WrapUp


@pytest.fixture
def budget() -> Budget:
    return Budget(steps=4)


@pytest.fixture(params=["sync", "async", "stream"])
def ask(request: pytest.FixtureRequest, tracer: Tracer, runner: asyncio.Runner) -> Callable[[Any], str]:
    """Ask the agent in one of three ways; its last words."""

    def words(agent: Any) -> str:
        config = {"callbacks": [TokentraceHandler(tracer)]}
        match request.param:
            case "sync":
                state = agent.invoke(GO, config)
            case "async":
                state = runner.run(agent.ainvoke(GO, config))
            case _:
                *_, state = agent.stream(GO, config, stream_mode="values")
        return str(state["messages"][-1].text)

    return words


def said_to(server: LoopbackServer, place: int) -> str:
    return str(server.requests[place].body["messages"][-1]["content"])


def test_from_a_part_of_the_budget_on_the_model_is_asked_to_answer(
    server: LoopbackServer, tracer: Tracer, ask: Callable[[Any], str], last_run: Any
) -> None:
    server.script(*[adding(1, 2)] * 3, Turn("Three, as far as I got."))
    agent = create_agent(chat_openai(server), [add], middleware=[WrapUp(tracer, wrap_up_at=0.7)])
    assert ask(agent) == "Three, as far as I got."
    assert server.count == 4
    assert ["almost used up" in said_to(server, place) for place in range(4)] == [False, False, False, True]
    run, _ = last_run()
    assert (run["status"], run["refused_calls"]) == ("success", 0)


def test_a_model_that_goes_on_all_the_same_is_not_asked_again_and_nothing_is_raised(
    server: LoopbackServer, tracer: Tracer, ask: Callable[[Any], str], last_run: Any
) -> None:
    server.script(*[adding(1, 2)] * 9)
    agent = create_agent(chat_openai(server), [add], middleware=[WrapUp(tracer)])
    assert ask(agent) == "Stopped: 100% of the budget is used."
    assert server.count == 4
    run: Row
    run, _ = last_run()
    assert (run["status"], run["steps"], run["refused_calls"]) == ("success", 4, 0)


def test_without_a_budget_an_agent_is_left_alone(server: LoopbackServer, db: Any) -> None:
    server.script(adding(1, 2), Turn("three"))
    with Tracer(db) as tracer:
        agent = create_agent(chat_openai(server), [add], middleware=[WrapUp(tracer)])
        state = agent.invoke(GO, {"callbacks": [TokentraceHandler(tracer)]})
    assert state["messages"][-1].text == "three"
    assert server.count == 2
