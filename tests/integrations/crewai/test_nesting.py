"""Agents in tools, tools in calls, other frameworks in tools: one tree, and each call once."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import Agent
from crewai.tools import tool

from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import adding, agent, crew, llm
from tests.integrations.crewai.test_figures import all_calls, stored_usage
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_langchain import TokentraceHandler

ASK = Turn(tool_calls=(ToolCall("ask", {"question": "sum"}),))


def asking(inner: Agent) -> Any:
    """A tool that is an agent."""

    @tool("ask")
    def ask(question: str) -> str:
        """Ask another agent."""
        return str(inner.kickoff(question).raw)

    return ask


def test_an_agent_that_is_a_tool_hangs_below_its_tool_call(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(ASK, adding(1, 2), Turn("three"), Turn("done"))
    agent(server, "Outer", tools=[asking(agent(server, "Inner"))]).kickoff("go")
    assert (
        last_tree()
        == """
run Outer success: go -> done
  step Outer 1 model success
    llm gpt-4o-mini success
    tool ask{"question":"sum"} success: three
      step Inner 1 model success
        llm gpt-4o-mini success
        tool add{"a":1,"b":2} success: 3
      step Inner 2 model success
        llm gpt-4o-mini success
  step Outer 2 model success
    llm gpt-4o-mini success
"""
    )


@pytest.mark.parametrize("budget", [Budget(steps=2)])
def test_the_budget_of_the_run_reaches_the_agent_in_its_tool(server: LoopbackServer, stored: Stored) -> None:
    server.script_loop(ASK, *[adding(1, 2)] * 9)
    with pytest.raises(BudgetExceeded):
        agent(server, "Outer", tools=[asking(agent(server, "Inner"))]).kickoff("go")
    assert server.count == 2
    [run] = stored().runs()
    assert (run["error_type"], run["llm_calls"]) == ("budget_exceeded", 2)


def test_a_langchain_model_in_a_tool_belongs_to_the_crew_that_called_the_tool(
    server: LoopbackServer, tracer: Tracer, last_tree: LastTree, stored: Stored
) -> None:
    @tool("ask")
    def ask(question: str) -> str:
        """Ask LangChain."""
        return str(chat_openai(server).invoke(question, {"callbacks": [TokentraceHandler(tracer)]}).content)

    server.script(ASK, Turn("three"), Turn("done"))
    crew(server, tools=[ask]).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> done
  step Librarian 1 count success
    llm gpt-4o-mini success
    tool ask{"question":"sum"} success: three
      step ask 1 count success
        llm gpt-4o-mini success
  step Librarian 2 count success
    llm gpt-4o-mini success
"""
    )
    assert stored_usage(all_calls(stored)) == server.reported


def test_a_function_that_a_model_call_executes_itself_is_a_tool_of_it(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(adding(1, 2))
    described = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    added = llm(server).call("go", tools=[described], available_functions={"add": lambda a, b: a + b})
    assert added == "3"
    # CrewAI keeps the usage of such a call to itself.
    assert (
        last_tree()
        == """
run gpt-4o-mini success: go -> 3
  step gpt-4o-mini 1 - success
    llm gpt-4o-mini success estimated
    tool add{"a":1,"b":2} success: 3
"""
    )


def test_a_crew_that_streams_is_recorded_like_one_that_does_not(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(adding(1, 2), Turn("three"))
    streaming = crew(server)
    streaming.stream = True
    output: Any = streaming.kickoff()
    assert "".join(chunk.content for chunk in output).endswith("three")
    assert (
        last_tree()
        == """
run library success: Count the books. -> three
  step Librarian 1 count success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step Librarian 2 count success
    llm gpt-4o-mini success
"""
    )
