"""A run has the same tree however its model is asked, and the tree says what the program did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool as langchain_tool
from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

from tests.integrations.conftest import LastTree
from tests.integrations.llama_index.agents import QUESTION, add, agent, answer, asking, model, team
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Tracer
from tokentrace_core.cli.tree import plain_tree
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler as LangChainHandler

both_ways = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


@both_ways
def test_an_agent_with_one_tool(
    wait: Wait, server: LoopbackServer, last_tree: LastTree, streaming: bool
) -> None:
    server.script(adding(1, 2), Turn("three"))
    assert wait(answer(agent(server, add, streaming=streaming))) == "three"
    assert (
        last_tree()
        == """\
run agent success: go -> three
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


@both_ways
def test_parallel_tools_belong_to_the_step_that_asked_for_them(
    wait: Wait, server: LoopbackServer, last_tree: LastTree, streaming: bool
) -> None:
    both = (ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4}))
    server.script(Turn(tool_calls=both), Turn("ten"))
    wait(answer(agent(server, add, streaming=streaming)))
    assert (
        last_tree()
        == """\
run agent success: go -> ten
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
    tool add{"a":3,"b":4} success: 7
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


def test_a_tool_that_raises_has_failed_though_the_agent_goes_on(
    wait: Wait, server: LoopbackServer, last_tree: LastTree
) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        raise ZeroDivisionError("out of numbers")

    server.script(adding(1, 2), Turn("no idea"))
    wait(answer(agent(server, add)))
    assert (
        last_tree()
        == """\
run agent success: go -> no idea
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} failure (ToolError): out of numbers
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


@both_ways
def test_agents_in_tools_hang_below_the_tools_however_deep(
    wait: Wait, server: LoopbackServer, last_tree: LastTree, streaming: bool
) -> None:
    adder = agent(server, add, name="adder", streaming=streaming)
    helper = agent(server, asking(adder, "ask_adder"), name="helper", streaming=streaming)
    boss = agent(server, asking(helper, "ask_helper"), add, name="boss", streaming=streaming)
    server.script(
        Turn(tool_calls=(ToolCall("ask_helper", {"question": "sum?"}),)),
        Turn(tool_calls=(ToolCall("ask_adder", {"question": "1+2?"}),)),
        adding(1, 2),
        Turn("three"),
        Turn("it is three"),
        adding(3, 4),
        Turn("3 and 7"),
    )
    wait(answer(boss))
    assert (
        last_tree()
        == """\
run boss success: go -> 3 and 7
  step boss 1 model success
    llm gpt-4o-mini success
    tool ask_helper{"question":"sum?"} success: it is three
      step helper 1 model success
        llm gpt-4o-mini success
        tool ask_adder{"question":"1+2?"} success: three
          step adder 1 model success
            llm gpt-4o-mini success
            tool add{"a":1,"b":2} success: 3
          step adder 2 model success
            llm gpt-4o-mini success
      step helper 2 model success
        llm gpt-4o-mini success
  step boss 2 model success
    llm gpt-4o-mini success
    tool add{"a":3,"b":4} success: 7
  step boss 3 model success
    llm gpt-4o-mini success
"""
    )


@both_ways
def test_a_hand_off_makes_the_steps_those_of_the_other_agent(
    wait: Wait, server: LoopbackServer, last_tree: LastTree, streaming: bool
) -> None:
    hand_off = ToolCall("handoff", {"to_agent": "adder", "reason": "sums"})
    server.script(Turn(tool_calls=(hand_off,)), adding(1, 2), Turn("three"))
    wait(answer(team(server, streaming=streaming)))
    lines = [line.partition(": ")[0] for line in last_tree().splitlines() if line.startswith(("run", "  "))]
    assert lines == [
        "run AgentWorkflow success",
        "  step boss 1 model success",
        "    llm gpt-4o-mini success",
        '    tool handoff{"reason":"sums","to_agent":"adder"} success',
        "  step adder 1 model success",
        "    llm gpt-4o-mini success",
        '    tool add{"a":1,"b":2} success',
        "  step adder 2 model success",
        "    llm gpt-4o-mini success",
    ]


@both_ways
def test_a_reasoning_agent_whose_tool_calls_are_text(
    wait: Wait, server: LoopbackServer, last_tree: LastTree, streaming: bool
) -> None:
    server.script(
        Turn('Thought: sum\nAction: add\nAction Input: {"a": 1, "b": 2}'),
        Turn("Thought: I can answer without using any more tools.\nAnswer: three"),
    )
    wait(answer(ReActAgent(name="agent", tools=[add], llm=model(server), streaming=streaming)))
    assert (
        last_tree()
        == """\
run agent success: go -> three
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


def test_a_workflow_of_ones_own_is_a_run_and_each_of_its_calls_a_step(
    wait: Wait, server: LoopbackServer, last_tree: LastTree
) -> None:
    class Planner(Workflow):
        @step
        async def plan(self, ctx: Context, event: StartEvent) -> StopEvent:
            first = await model(server).achat(QUESTION)
            return StopEvent(result=f"{first.message.content} {await model(server).acomplete('and?')}")

    server.script(Turn("on"), Turn("it"))
    assert wait(answer(Planner(), topic="rain")) == "on it"
    assert (
        last_tree()
        == """\
run Planner success: {"topic":"rain"} -> on it
  step Planner 1 - success
    llm gpt-4o-mini success
  step Planner 2 - success
    completion gpt-4o-mini success
"""
    )


def test_the_same_agent_in_langchain_has_the_same_tree_to_the_character(
    wait: Wait, server: LoopbackServer, stored: Callable[[], Reader], tracer: Tracer
) -> None:
    def script() -> None:
        both = (ToolCall("ask", {"question": "sum?"}), ToolCall("add", {"a": 3, "b": 4}))
        server.reset()
        server.script(
            adding(1, 2),
            Turn(tool_calls=(both[1], ToolCall("add", {"a": 5, "b": 6}))),
            Turn(tool_calls=both[:1]),
            adding(5, 6),
            Turn("eleven"),
            Turn("done"),
        )

    script()
    wait(answer(agent(server, asking(agent(server, add, name="inner")), add, name="outer")))
    script()
    inner: Any = create_agent(chat_openai(server), [langchain_tool(add)], name="inner")

    @langchain_tool
    def ask(question: str) -> str:
        """Ask another agent."""
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].content)

    outer: Any = create_agent(chat_openai(server), [ask, langchain_tool(add)], name="outer")
    outer.invoke({"messages": [("user", "go")]}, config={"callbacks": [LangChainHandler(tracer)]})
    reader = stored()
    langchains, ours = (plain_tree(reader, run["id"]) for run in reader.runs())
    assert ours == langchains
    assert ours.count("llm gpt-4o-mini") == server.count == 6
