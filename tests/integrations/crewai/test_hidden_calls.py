"""Calls that CrewAI makes on its own are seen like all others: each request once, with its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from crewai import Crew, Task
from crewai.utilities.converter import ConverterError
from pydantic import BaseModel

from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import adding, agent, crew, llm, task
from tests.integrations.crewai.test_figures import all_calls, stored_usage
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Budget, BudgetExceeded

PLAN = Turn('{"list_of_plans_per_task":[{"task_number":1,"task":"count","plan":"look"}]}')
FINE = Turn('{"valid":true,"feedback":null}')


class Number(BaseModel):
    n: int


def with_one(server: LoopbackServer, job: Callable[[Any], Task], **more: Any) -> Crew:
    librarian = agent(server)
    return Crew(agents=[librarian], tasks=[job(librarian)], name="library", **more)


def test_the_planner_is_an_agent_of_the_crew(server: LoopbackServer, last_tree: LastTree) -> None:
    server.script(PLAN, Turn("ten"))
    with_one(server, task, planning=True, planning_llm=llm(server)).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> ten
  step Task Execution Planner 1 model success
    llm gpt-4o-mini success
  step Librarian 1 count success
    llm gpt-4o-mini success
"""
    )


def test_a_guardrail_that_asks_a_model_is_an_agent_in_its_task(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(Turn("ten"), FINE)
    with_one(server, lambda one: task(one, guardrail="must be nice")).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> ten
  step Librarian 1 count success
    llm gpt-4o-mini success
  step Guardrail Agent 1 model success
    llm gpt-4o-mini success
"""
    )


def test_the_conversion_of_an_answer_is_a_step_of_the_crew(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(Turn("ten"), Turn('{"n": 10}'))
    with_one(server, lambda one: task(one, output_pydantic=Number)).kickoff()
    assert "  step library 1 count success\n    llm gpt-4o-mini success\n" in last_tree()


def test_a_paid_answer_that_cannot_be_converted_is_estimated(server: LoopbackServer, stored: Stored) -> None:
    server.script(Turn("ten"), *[Turn("this is no json at all")] * 3)
    with pytest.raises(ConverterError):
        with_one(server, lambda one: task(one, output_pydantic=Number)).kickoff()
    calls = all_calls(stored)
    assert len(calls) == server.count == 4
    assert [call["usage_source"] for call in calls] == ["reported", "estimated", "estimated", "estimated"]
    assert all(call["cost_nano_usd"] > 0 and call["output_tokens"] > 0 for call in calls)
    assert [call["error_type"] for call in calls] == [None, *["ValidationError"] * 3]
    [run] = stored().runs()
    assert (run["status"], run["error_type"], run["estimated_calls"]) == ("failure", "ConverterError", 3)


def test_the_answer_forced_after_too_many_iterations_is_a_call_of_the_agent(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(adding(1, 2), adding(3, 4), Turn("enough"))
    crew(server, max_iter=2).kickoff()
    assert server.count == 3
    assert last_tree().count("step Librarian") == 3


HIDDEN: dict[str, tuple[list[Turn], Callable[[LoopbackServer], Any]]] = {
    "planning": (
        [PLAN, Turn("ten")],
        lambda server: with_one(server, task, planning=True, planning_llm=llm(server)).kickoff(),
    ),
    "guardrail": (
        [Turn("ten"), FINE],
        lambda server: with_one(server, lambda one: task(one, guardrail="must be nice")).kickoff(),
    ),
    "converter": (
        [Turn("ten"), Turn('{"n": 10}')],
        lambda server: with_one(server, lambda one: task(one, output_pydantic=Number)).kickoff(),
    ),
    "max_iter": ([adding(1, 2), Turn("enough")], lambda server: crew(server, max_iter=1).kickoff()),
    "guardrail of an agent": (
        [Turn("ten"), FINE],
        lambda server: agent(server, guardrail="must be nice").kickoff("How many?"),
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_requests_and_tokens_are_the_servers(server: LoopbackServer, stored: Stored, name: str) -> None:
    turns, begin = HIDDEN[name]
    server.script(*turns)
    begin(server)
    calls = all_calls(stored)
    assert len(calls) == server.count == 2
    assert stored_usage(calls) == server.reported


@pytest.mark.parametrize("budget", [Budget(steps=1)], ids=["1 step"])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_hidden_call_is_refused_like_any_other(server: LoopbackServer, stored: Stored, name: str) -> None:
    turns, begin = HIDDEN[name]
    server.script(*turns)
    with pytest.raises(BudgetExceeded):
        begin(server)
    assert server.count == 1
    assert [run["error_type"] for run in stored().runs()] == ["budget_exceeded"]
