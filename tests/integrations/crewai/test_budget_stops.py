"""A budget of two calls lets exactly two requests leave the process, in every way to start CrewAI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.flow.flow import Flow, start

from tests.integrations.crewai.conftest import Stored
from tests.integrations.crewai.crews import adding, agent, crew, llm, task
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_crewai import CrewBudgetExceeded

Start = Callable[[LoopbackServer], Any]


def two_tasks(server: LoopbackServer) -> Any:
    librarian = agent(server)
    return Crew(agents=[librarian], tasks=[task(librarian), task(librarian, "again")]).kickoff()


def flow(server: LoopbackServer) -> Any:
    class Morning(Flow[Any]):
        @start()
        def open_up(self) -> Any:
            return crew(server).kickoff().raw

    return Morning().kickoff()


def calls_in_a_flow(server: LoopbackServer) -> Any:
    class Morning(Flow[Any]):
        @start()
        def open_up(self) -> None:
            model = llm(server)
            for _ in range(9):
                model.call("Hi")

    return Morning().kickoff()


def delegation(server: LoopbackServer) -> Any:
    work = {"task": "sum up", "context": "none", "coworker": "Librarian"}
    delegating = Turn(tool_calls=(ToolCall("delegate_work_to_coworker", work),), usage=TurnUsage(1000, 20))
    server.script(delegating, *[adding(1, 2, usage=TurnUsage(1000, 20))] * 8)
    manager = llm(server, model="openai/gpt-4o-mini")
    return Crew(
        agents=[agent(server)], tasks=[task()], process=Process.hierarchical, manager_llm=manager
    ).kickoff()


STARTS: dict[str, Start] = {
    "kickoff": lambda server: crew(server).kickoff(),
    "two tasks": two_tasks,
    "kickoff_async": lambda server: asyncio.run(crew(server).kickoff_async()),
    "akickoff": lambda server: asyncio.run(crew(server).akickoff()),
    "kickoff_for_each": lambda server: crew(server).kickoff_for_each([{"n": "1"}]),
    "kickoff_for_each_async": lambda server: asyncio.run(crew(server).kickoff_for_each_async([{"n": "1"}])),
    "agent": lambda server: agent(server).kickoff("How many?"),
    "agent, async": lambda server: asyncio.run(agent(server).kickoff_async("How many?")),
    "stream": lambda server: crew(server, llm=llm(server, stream=True)).kickoff(),
    "anthropic": lambda server: crew(server, llm=llm(server, "anthropic")).kickoff(),
    "anthropic stream": lambda server: crew(server, llm=llm(server, "anthropic", stream=True)).kickoff(),
    "responses": lambda server: crew(server, llm=llm(server, "responses")).kickoff(),
    "flow": flow,
    "calls in a flow": calls_in_a_flow,
    "delegation": delegation,
}


@pytest.fixture(params=STARTS.values(), ids=STARTS.keys())
def begin(request: pytest.FixtureRequest) -> Start:
    return request.param


@pytest.mark.parametrize("budget", [Budget(steps=2)], ids=["2 steps"])
def test_after_two_steps_not_one_request_more_leaves_the_process(
    server: LoopbackServer, begin: Start, stored: Stored
) -> None:
    server.script_loop(*(adding(n, n) for n in range(9)))
    with pytest.raises(BudgetExceeded) as stop:
        begin(server)
    assert isinstance(stop.value, CrewBudgetExceeded)
    assert (stop.value.scope, stop.value.spent, stop.value.limit) == ("steps", 2, 2)
    assert server.count == 2
    reader = stored()
    [run] = reader.runs()
    assert (run["status"], run["error_type"], run["llm_calls"]) == ("failure", "budget_exceeded", 2)
    refused = [call for call in reader.llm_calls(run["id"]) if call["status"] == "refused"]
    assert len(refused) == 1
    assert '"budget_stop":true' in refused[0]["attributes"]


@pytest.mark.parametrize("budget", [Budget(run_usd=0)], ids=["no money"])
def test_without_money_nothing_is_sent(server: LoopbackServer, begin: Start, stored: Stored) -> None:
    server.script_loop(Turn("never"))
    with pytest.raises(BudgetExceeded):
        begin(server)
    assert server.count == 0
    [run] = stored().runs()
    assert (run["status"], run["error_type"], run["refused_calls"]) == ("failure", "budget_exceeded", 1)


@pytest.mark.parametrize("budget", [Budget(run_usd=0)], ids=["no money"])
@pytest.mark.parametrize("wire", ["chat", "responses", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_to_a_model_alone_is_refused_too(server: LoopbackServer, wire: str, stream: bool) -> None:
    server.script_loop(Turn("never"))
    with pytest.raises(CrewBudgetExceeded, match="not sent"):
        llm(server, wire, stream=stream).call("Hi")
    with pytest.raises(CrewBudgetExceeded, match="not sent"):
        asyncio.run(llm(server, wire, stream=stream).acall("Hi"))
    assert server.count == 0


@pytest.mark.parametrize(
    ("name", "budget"),
    [(name, Budget(run_usd="0.007" if "anthropic" in name else "0.00035")) for name in STARTS],
    ids=STARTS,
)
def test_two_calls_worth_of_money_buys_two_calls(server: LoopbackServer, name: str, stored: Stored) -> None:
    server.script_loop(*(adding(n, n, usage=TurnUsage(1000, 20)) for n in range(9)))
    with pytest.raises(CrewBudgetExceeded):
        STARTS[name](server)
    assert server.count == 2
    [run] = stored().runs()
    assert (run["error_type"], run["llm_calls"], run["refused_calls"]) == ("budget_exceeded", 2, 1)


@pytest.mark.parametrize("budget", [Budget(steps=2)], ids=["2 steps"])
def test_each_run_has_a_budget_of_its_own(server: LoopbackServer, tracer: Tracer, stored: Stored) -> None:
    server.script_loop(Turn("ten"))
    for _ in range(3):
        crew(server).kickoff()
    assert server.count == 3
    assert [run["status"] for run in stored().runs()] == ["success"] * 3
