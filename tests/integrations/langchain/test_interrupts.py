"""P19: a graph that stops to ask a human waits. That is no error, no second run, and no time of the agent's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from tests.integrations.conftest import LastTree
from tests.integrations.langchain.agents import GO, Chat, add, agent, ask
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler

BREAK_S = 0.05
"""How long the human takes."""


@pytest.fixture
def thread(config: Any) -> dict[str, Any]:
    """A recorded config of one LangGraph thread."""
    return config | {"configurable": {"thread_id": "t1"}}


def asking_node(server: LoopbackServer, saver: Any, **compile_with: Any) -> Any:
    """A graph that asks a model, then a human, then a model again."""

    def review(state: Chat) -> dict[str, Any]:
        return {"messages": [("user", interrupt({"approve": "the draft"}))]}

    graph = StateGraph(Chat)
    graph.add_node("draft", ask(chat_openai(server)))
    graph.add_node("review", review if not compile_with else lambda state: {"messages": []})
    graph.add_node("send", ask(chat_openai(server)))
    graph.add_edge(START, "draft")
    graph.add_edge("draft", "review")
    graph.add_edge("review", "send")
    return graph.compile(checkpointer=saver, name="mailer", **compile_with)


@tool
def approve(what: str) -> str:
    """Ask a human."""
    return str(interrupt(what))


DRAFTED = """\
run mailer {}: go -> {}
  step mailer 1 draft success
    llm gpt-4o-mini success
"""
LAUNCHING = """\
  step launcher 1 model success
    llm gpt-4o-mini success
"""
WAITING = '    tool approve{"what":"launch"} waiting: None\n'
ANSWERED = '    tool approve{"what":"launch"} success: yes\n'
LAUNCHED = """\
  step launcher 2 model success
    llm gpt-4o-mini success
"""
SENT = """\
  step mailer 2 send success
    llm gpt-4o-mini success
"""


def test_p19_an_interrupt_in_a_node_waits_and_the_answer_continues_the_same_run(
    call: Driver, server: LoopbackServer, thread: Any, stored: Callable[[], Reader], last_tree: LastTree
) -> None:
    server.script(Turn("Dear all"), Turn("sent"))
    graph = asking_node(server, InMemorySaver())
    call(graph, GO, thread)
    assert last_tree() == DRAFTED.format("waiting", "Dear all")
    assert json.loads(stored().run("last")["attributes"])["waiting_for"] == {"approve": "the draft"}

    time.sleep(BREAK_S)
    call(graph, Command(resume="yes"), thread)
    assert last_tree() == DRAFTED.format("success", "sent") + SENT
    reader = stored()
    [run] = reader.runs()
    assert run["waiting_ms"] >= BREAK_S * 1000
    [costs] = reader.query("select duration_ms from run_costs")
    assert 0 < costs["duration_ms"] <= (run["ended_at"] - run["started_at"]) / 1000 - BREAK_S * 1000
    assert (run["llm_calls"], run["error_type"], run["session_id"]) == (2, None, "t1")
    assert "waiting_for" not in json.loads(run["attributes"] or "{}")


def test_p19_an_interrupt_in_a_tool_waits_in_that_tool(
    call: Driver, server: LoopbackServer, thread: Any, stored: Callable[[], Reader], last_tree: LastTree
) -> None:
    server.script(Turn(tool_calls=(ToolCall("approve", {"what": "launch"}),)), Turn("launched"))
    model = chat_openai(server)
    graph = create_agent(model, [approve], name="launcher", checkpointer=InMemorySaver())
    call(graph, GO, thread)
    assert last_tree() == "run launcher waiting: go -> \n" + LAUNCHING + WAITING

    call(graph, Command(resume="yes"), thread)
    assert last_tree() == "run launcher success: go -> launched\n" + LAUNCHING + ANSWERED + WAITING + LAUNCHED


def test_p19_a_stop_before_a_node_continues_as_the_same_run(
    call: Driver, server: LoopbackServer, thread: Any, stored: Callable[[], Reader], last_tree: LastTree
) -> None:
    server.script(Turn("Dear all"), Turn("sent"))
    graph = asking_node(server, InMemorySaver(), interrupt_before=["review"])
    call(graph, GO, thread)
    call(graph, None, thread)
    assert len(stored().runs()) == 1
    assert last_tree() == DRAFTED.format("success", "sent") + SENT


def test_p19_a_tool_that_a_human_lets_through_belongs_to_the_step_that_asked_for_it(
    call: Driver, server: LoopbackServer, thread: Any, last_tree: LastTree
) -> None:
    server.script(adding(1, 2), Turn("three"))
    model = chat_openai(server)
    graph = create_agent(
        model, [add], name="careful", checkpointer=InMemorySaver(), interrupt_before=["tools"]
    )
    call(graph, GO, thread)
    call(graph, None, thread)
    assert (
        last_tree()
        == """\
run careful success: go -> three
  step careful 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step careful 2 model success
    llm gpt-4o-mini success
"""
    )


def test_p19_another_process_can_answer(
    call: Driver, server: LoopbackServer, thread: Any, db: Path, stored: Callable[[], Reader]
) -> None:
    server.script(Turn("Dear all"), Turn("sent"))
    saver = InMemorySaver()
    call(asking_node(server, saver), GO, thread)
    stored()
    with Tracer(db) as other:
        call(
            asking_node(server, saver),
            Command(resume="yes"),
            thread | {"callbacks": [TokentraceHandler(other)]},
        )
        assert other.flush(10)
    reader = stored()
    [run] = reader.runs()
    assert (run["status"], run["llm_calls"], run["steps"]) == ("success", 2, 2)
    assert (run["input"], run["output"]) == ("go", "sent")
    assert "waiting_for" not in json.loads(run["attributes"] or "{}")
    assert [step["number"] for step in reader.steps(run["id"])] == [1, 2]
    assert run["cost_nano_usd"] == sum(row["cost_nano_usd"] for row in reader.llm_calls(run["id"]))


def test_p19_other_runs_of_the_session_do_not_take_the_answer(
    call: Driver, server: LoopbackServer, thread: Any, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(Turn("Dear all"), Turn("Rain."), Turn("sent"))
    graph = asking_node(server, InMemorySaver())
    call(graph, GO, thread)
    call(agent(server, name="other"), GO, config | {"metadata": {"session_id": "t1"}})
    call(graph, Command(resume="yes"), thread)
    runs = {run["name"]: run for run in stored().runs()}
    assert [(run["status"], run["llm_calls"]) for run in runs.values()] == [("success", 1), ("success", 2)]
    assert runs["mailer"]["output"] == "sent"


def asking_twice(**compile_with: Any) -> Any:
    """A graph whose two branches each ask a human."""

    def branch(name: str) -> Callable[[Chat], dict[str, Any]]:
        return lambda state: {"messages": [("user", interrupt(f"{name}?"))]}

    graph = StateGraph(Chat)
    for name in ("left", "right"):
        graph.add_node(name, branch(name))
        graph.add_edge(START, name)
    return graph.compile(name="fork", **compile_with)


def inside(graph: Any) -> Any:
    """The same graph as a node of another."""
    outer = StateGraph(Chat)
    outer.add_node("fork", graph)
    outer.add_edge(START, "fork")
    return outer.compile(checkpointer=InMemorySaver(), name="outer")


def test_p19_all_that_a_subgraph_asks_at_once_is_waited_for(
    call: Driver, thread: Any, stored: Callable[[], Reader]
) -> None:
    call(inside(asking_twice()), GO, thread)
    [run] = stored().runs()
    assert run["status"] == "waiting"
    assert sorted(json.loads(run["attributes"])["waiting_for"]) == ["left?", "right?"]


def test_p19_all_that_branches_ask_at_once_is_waited_for(
    call: Driver, thread: Any, stored: Callable[[], Reader]
) -> None:
    call(asking_twice(checkpointer=InMemorySaver()), GO, thread)
    [run] = stored().runs()
    assert run["status"] == "waiting"
    assert sorted(json.loads(run["attributes"])["waiting_for"]) == ["left?", "right?"]


def test_p19_a_command_that_answers_nothing_begins_a_run_of_its_own(
    call: Driver, server: LoopbackServer, thread: Any, stored: Callable[[], Reader]
) -> None:
    server.script_loop(Turn("done"))
    graph = asking_node(server, InMemorySaver())
    call(graph, GO, thread)
    call(graph, Command(update={"messages": [("user", "never mind")]}, goto="send"), thread)
    sent, asked = stored().runs()
    assert (asked["status"], asked["llm_calls"]) == ("waiting", 1)
    assert sent["id"] != asked["id"]
    assert sent["llm_calls"] >= 1


def test_p19_an_exception_that_is_only_called_like_an_interrupt_is_an_error(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    class GraphInterrupt(Exception):
        pass

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        raise GraphInterrupt("not LangGraph's")

    server.script(adding(1, 2))
    with pytest.raises(GraphInterrupt):
        call(agent(server, add), GO, config)
    assert last_tree().startswith("run agent failure (GraphInterrupt)")


def test_p19_handing_over_to_another_node_is_no_error(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    @tool
    def hand_over() -> Command[Any]:
        """Hand over to the writer."""
        return Command(goto="write", graph=Command.PARENT)

    graph = StateGraph(Chat)
    graph.add_node("research", agent(server, hand_over, add, name="researcher"), destinations=("write", END))
    graph.add_node("write", ask(chat_openai(server)))
    graph.add_edge(START, "research")
    server.script(Turn(tool_calls=(ToolCall("hand_over"),)), Turn("It is three."))
    call(graph.compile(name="team"), GO, config)
    reader = stored()
    run = reader.run("last")
    assert (run["status"], run["error_type"], run["output"]) == ("success", None, "It is three.")
    for table in ("steps", "llm_calls", "tool_calls"):
        assert {row["status"] for row in reader.query(f"select status from {table}")} == {"success"}
