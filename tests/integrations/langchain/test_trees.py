"""A run has the same tree however it is called, and the tree says what the program did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import ToolException, tool
from langgraph.graph import END, START, StateGraph

from tests.integrations.conftest import LastTree
from tests.integrations.langchain.agents import GO, Chat, add, agent, ask, asking
from tests.integrations.langchain.driving import Driver
from tests.integrations.trees import tree
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core.store.reader import Reader

ADDED = """\
run agent success: go -> {}
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{{"a":1,"b":2}} success: 3
  step agent 2 model success
    llm gpt-4o-mini success
"""


def test_an_agent_with_one_tool(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    server.script(adding(1, 2), Turn("three"))
    call(agent(server, add), GO, config)
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


@pytest.mark.parametrize("call", ["stream", "astream"], indirect=True)
@pytest.mark.parametrize("mode", ["updates", "values", "messages", ["updates", "messages"]], ids=str)
def test_an_agent_has_the_same_tree_whatever_of_it_is_streamed(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree, mode: Any
) -> None:
    server.script(adding(1, 2), Turn("three"))
    assert len(call(agent(server, add), GO, config, stream_mode=mode)) >= 3
    assert last_tree() == ADDED.format("three")


def test_items_of_a_batch_are_runs_of_their_own_with_the_same_tree(
    server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.answer_with(lambda body: Turn("three") if len(body["messages"]) > 1 else adding(1, 2))
    agent(server, add).batch([GO] * 3, config)
    reader = stored()
    assert [tree(reader, run["id"]) for run in reader.runs()] == [ADDED.format("three")] * 3
    assert server.answered == 6


def test_parallel_tools_belong_to_the_step_that_asked_for_them(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    both = (ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4}))
    server.script(Turn(tool_calls=both), Turn("ten"))
    call(agent(server, add), GO, config)
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


def test_a_tool_that_reports_an_error_has_failed_though_the_agent_goes_on(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        raise ToolException("out of numbers")

    add.handle_tool_error = True
    server.script(adding(1, 2), Turn("no idea"))
    call(agent(server, add), GO, config)
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


def test_a_tool_that_raises_fails_the_run(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        raise ZeroDivisionError("out of numbers")

    server.script(adding(1, 2))
    with pytest.raises(ZeroDivisionError, match="out of numbers"):
        call(agent(server, add), GO, config)
    assert (
        last_tree()
        == """\
run agent failure (ZeroDivisionError): go -> None
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} failure (ZeroDivisionError): None
"""
    )


def test_a_tool_that_does_not_exist_costs_a_step_and_no_more(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    server.script(Turn(tool_calls=(ToolCall("subtract", {"a": 1}),)), Turn("no idea"))
    call(agent(server, add), GO, config)
    assert (
        last_tree()
        == """\
run agent success: go -> no idea
  step agent 1 model success
    llm gpt-4o-mini success
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


def test_agents_in_tools_hang_below_the_tools_however_deep(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    adder = agent(server, add, name="adder")
    helper = agent(server, asking(adder, "ask_adder"), name="helper")
    boss = agent(server, asking(helper, "ask_helper"), add, name="boss")
    server.script(
        Turn(tool_calls=(ToolCall("ask_helper", {"question": "sum?"}),)),
        Turn(tool_calls=(ToolCall("ask_adder", {"question": "1+2?"}),)),
        adding(1, 2),
        Turn("three"),
        Turn("it is three"),
        adding(3, 4),
        Turn("3 and 7"),
    )
    call(boss, GO, config)
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


def test_a_hand_written_loop_has_the_names_of_its_nodes(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    model = chat_openai(server)
    graph = StateGraph(Chat)
    graph.add_node("plan", ask(model))
    graph.add_node("execute", ask(model))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "execute")
    graph.add_conditional_edges("execute", lambda state: "plan" if len(state["messages"]) < 5 else END)
    server.script_loop(Turn("on it"))
    call(graph.compile(name="planner"), GO, config)
    step = "  step planner {} {} success\n    llm gpt-4o-mini success\n"
    steps = [step.format(number, name) for number, name in enumerate(["plan", "execute"] * 2, 1)]
    assert last_tree() == "run planner success: go -> on it\n" + "".join(steps)


def test_parallel_branches_are_steps_of_one_agent(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    model = chat_openai(server)
    graph = StateGraph(Chat)
    for name in ("left", "right"):
        graph.add_node(name, ask(model))
        graph.add_edge(START, name)
    server.script_loop(Turn("done", delay=0.02))
    call(graph.compile(name="fork"), GO, config)
    reader = stored()
    run = reader.run("last")
    steps = reader.steps(run["id"])
    assert sorted(step["name"] for step in steps) == ["left", "right"]
    assert [(step["agent"], step["agent_step"], step["status"]) for step in steps] == [
        ("fork", 1, "success"),
        ("fork", 2, "success"),
    ]
    assert len({call["step_id"] for call in reader.llm_calls(run["id"])}) == 2


def test_a_subgraph_is_an_agent_of_its_own(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    graph = StateGraph(Chat)
    graph.add_node("research", agent(server, add, name="researcher"))
    graph.add_node("write", ask(chat_openai(server)))
    graph.add_edge(START, "research")
    graph.add_edge("research", "write")
    server.script(adding(1, 2), Turn("three"), Turn("It is three."))
    call(graph.compile(name="team"), GO, config)
    assert (
        last_tree()
        == """\
run team success: go -> It is three.
  step researcher 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step researcher 2 model success
    llm gpt-4o-mini success
  step team 1 write success
    llm gpt-4o-mini success
"""
    )


def test_a_tool_without_arguments_has_none(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    @tool
    def today() -> str:
        """Say which day it is."""
        return "Monday"

    server.script(Turn(tool_calls=(ToolCall("today"),)), Turn("It is Monday."))
    call(agent(server, today), GO, config)
    assert (
        last_tree()
        == """\
run agent success: go -> It is Monday.
  step agent 1 model success
    llm gpt-4o-mini success
    tool today{} success: Monday
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )
