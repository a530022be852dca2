"""Every call lands in its own run and place: with our own blocks around or inside, and with many runs at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph

from tests.integrations.conftest import LastTree
from tests.integrations.figures import statuses
from tests.integrations.langchain.agents import GO, Chat, add, agent, asking
from tests.integrations.langchain.driving import Driver
from tests.integrations.trees import tree
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler

AT_ONCE = 50

AGENT_STEPS = """\
  step agent 1 model success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step agent 2 model success
    llm gpt-4o-mini success
"""


def test_an_agent_inside_a_run_block_belongs_to_that_run(
    call: Driver, server: LoopbackServer, tracer: Tracer, config: Any, last_tree: LastTree
) -> None:
    server.script(adding(1, 2), Turn("3"))
    with tracer.run("triage", user="ada", input="how many?") as run:
        call(agent(server, add), GO, config)
        run.set_output("three")
    assert last_tree() == "run triage success: how many? -> three\n" + AGENT_STEPS
    assert (run.steps, run.status) == (2, "success")


def test_two_agents_inside_a_session_block_are_two_runs_of_it(
    call: Driver, server: LoopbackServer, tracer: Tracer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script_loop(Turn("3"))
    with tracer.session("ticket-4711", user="ada"):
        for _ in range(2):
            call(agent(server, add), GO, config)
    runs = stored().runs()
    assert [(run["session_id"], run["user_id"], run["llm_calls"]) for run in runs] == [
        ("ticket-4711", "ada", 1)
    ] * 2


def measuring(tracer: Tracer) -> BaseTool:
    """A tool that uses our own blocks."""

    @tool
    def measure(what: str) -> str:
        """Measure something."""
        with tracer.tool("thermometer", {"of": what}) as reading:
            reading.done(21)
        with tracer.llm("gpt-4o", messages="Is 21 warm?") as call:
            call.done("Yes.")
        return "warm"

    return measure


def test_our_own_blocks_inside_a_tool_hang_below_that_tool(
    call: Driver, server: LoopbackServer, tracer: Tracer, config: Any, last_tree: LastTree
) -> None:
    server.script(Turn(tool_calls=(ToolCall("measure", {"what": "air"}),)), Turn("It is warm."))
    call(agent(server, measuring(tracer)), GO, config)
    assert (
        last_tree()
        == """\
run agent success: go -> It is warm.
  step agent 1 model success
    llm gpt-4o-mini success
    tool measure{"what":"air"} success: warm
      step measure 1 - success
        llm gpt-4o success estimated
    tool thermometer{"of":"air"} success: 21
  step agent 2 model success
    llm gpt-4o-mini success
"""
    )


def test_a_model_inside_our_own_blocks_inside_a_node_belongs_to_them(
    call: Driver, server: LoopbackServer, tracer: Tracer, config: Any, last_tree: LastTree
) -> None:
    def think(state: Chat) -> dict[str, Any]:
        with tracer.step("ponder"):
            answer = chat_openai(server).invoke("go")
        with tracer.tool("second opinion", {}):
            chat_openai(server).invoke("really?")
        return {"messages": [answer]}

    graph = StateGraph(Chat)
    graph.add_node("think", think)
    graph.add_edge(START, "think")
    server.script(Turn("Yes."), Turn("No."))
    call(graph.compile(name="thinker"), GO, config)
    assert (
        last_tree()
        == """\
run thinker success: go -> Yes.
  step thinker 1 ponder success
    llm gpt-4o-mini success
    tool second opinion{} success: None
      step second opinion 1 think success
        llm gpt-4o-mini success
"""
    )


@pytest.mark.usefixtures("instrumented")
def test_a_thread_that_inherits_no_context_is_recorded_as_a_run_of_its_own(
    server: LoopbackServer, stored: Callable[[], Reader]
) -> None:
    server.script(adding(1, 2), Turn("3"))
    thread = threading.Thread(target=agent(server, add).invoke, args=(GO,))
    thread.start()
    thread.join()
    [run] = stored().runs()
    assert (run["status"], run["llm_calls"], run["tool_calls"]) == ("success", 2, 1)


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────


def script_by_user(body: dict[str, Any]) -> Turn:
    """A boss that asks a helper, who adds twice; what they say carries the number of the request."""
    asked, *rest = [message for message in body["messages"] if message["role"] != "system"]
    number = int(asked["content"].rsplit(" ", 1)[-1])
    match asked["content"].split(" ")[0], len(rest):
        case "boss", 0:
            return Turn(
                tool_calls=(ToolCall("ask", {"question": f"helper {number}"}, id="same"),), delay=0.001
            )
        case "helper", 0:
            # As if every provider gave the same ids.
            both = [ToolCall("add", {"a": number, "b": more}, id=f"same{more}") for more in (1, 2)]
            return Turn(tool_calls=tuple(both))
    return Turn(f"answer {number}")


def at_once(number: int, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    question = {"messages": [("user", f"boss {number}")]}
    return question, config | {"metadata": {"user_id": f"user {number}"}}


def gathered(runner: asyncio.Runner, boss: Any, config: dict[str, Any]) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(boss.ainvoke(*at_once(number, config)) for number in range(AT_ONCE)))

    runner.run(all_at_once())


def streamed(runner: asyncio.Runner, boss: Any, config: dict[str, Any]) -> None:
    async def one(number: int) -> None:
        question, labels = at_once(number, config)
        async for _ in boss.astream(question, labels, stream_mode="updates"):
            pass

    async def all_at_once() -> None:
        await asyncio.gather(*(one(number) for number in range(AT_ONCE)))

    runner.run(all_at_once())


def pooled(runner: asyncio.Runner, boss: Any, config: dict[str, Any]) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda number: boss.invoke(*at_once(number, config)), range(AT_ONCE)))


def batched(runner: asyncio.Runner, boss: Any, config: dict[str, Any]) -> None:
    questions, configs = zip(*(at_once(number, config) for number in range(AT_ONCE)), strict=True)
    boss.batch(list(questions), [labels | {"max_concurrency": 10} for labels in configs])


def batched_async(runner: asyncio.Runner, boss: Any, config: dict[str, Any]) -> None:
    questions, configs = zip(*(at_once(number, config) for number in range(AT_ONCE)), strict=True)
    runner.run(boss.abatch(list(questions), list(configs)))


ALONE = """\
run boss success: boss N -> answer N
  step boss 1 model success
    llm gpt-4o-mini success
    tool ask{"question":"helper N"} success: answer N
      step helper 1 model success
        llm gpt-4o-mini success
        tool add{"a":N,"b":1} success: N+1
        tool add{"a":N,"b":2} success: N+2
      step helper 2 model success
        llm gpt-4o-mini success
  step boss 2 model success
    llm gpt-4o-mini success
"""


def tree_of(number: int) -> str:
    """What the run of this number must look like."""
    added = ALONE.replace("N+1", str(number + 1)).replace("N+2", str(number + 2))
    return added.replace("N", str(number))


def boss_of(server: LoopbackServer) -> Any:
    return agent(server, asking(agent(server, add, name="helper")), name="boss")


def test_p13_a_run_alone_is_the_measure_of_fifty_at_once(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    server.answer_with(script_by_user)
    call(boss_of(server), *at_once(7, config))
    assert last_tree() == tree_of(7)


@pytest.mark.parametrize("run_all", [gathered, streamed, pooled, batched, batched_async])
def test_p13_p14_fifty_runs_through_one_handler_do_not_mix(
    server: LoopbackServer,
    tracer: Tracer,
    config: Any,
    runner: asyncio.Runner,
    stored: Callable[[], Reader],
    caplog: pytest.LogCaptureFixture,
    run_all: Callable[..., None],
) -> None:
    server.answer_with(script_by_user)
    with caplog.at_level(logging.WARNING):
        run_all(runner, boss_of(server), config)
    reader = stored()
    runs = reader.runs(limit=2 * AT_ONCE)
    assert {run["user_id"]: tree(reader, run["id"]) for run in runs} == {
        f"user {number}": tree_of(number) for number in range(AT_ONCE)
    }
    for run in runs:
        assert (run["steps"], run["llm_calls"], run["tool_calls"]) == (4, 4, 3)
    assert len(runs) == AT_ONCE
    assert_whole(reader)
    assert server.answered == 4 * AT_ONCE == len(list(reader.query("select id from llm_calls")))
    assert tracer.recorder.open_parts == 0
    assert [record.getMessage() for record in caplog.records] == []


def assert_whole(reader: Reader) -> None:
    """No orphans, nothing still running."""
    orphans = """
        select id from steps where run_id not in (select id from runs)
            or parent_call_id is not null and parent_call_id not in (select id from tool_calls t where t.run_id = steps.run_id)
        union select id from llm_calls where step_id not in (select id from steps s where s.run_id = llm_calls.run_id)
        union select id from tool_calls where step_id not in (select id from steps s where s.run_id = tool_calls.run_id)
    """
    assert list(reader.query(orphans)) == []
    assert statuses(reader) == {"success"}


def test_p13_a_handler_made_inside_a_run_joins_it(
    call: Driver, server: LoopbackServer, tracer: Tracer, config: Any, stored: Callable[[], Reader]
) -> None:
    inner = agent(server, add, name="inner")

    def ask(question: str) -> str:
        answer = inner.invoke(GO, {"callbacks": [TokentraceHandler(tracer)]})
        return str(answer["messages"][-1].content)

    server.script(adding(1, 2), Turn("3"))
    call(RunnableLambda(ask), "how many?", config)
    [run] = stored().runs()
    assert (run["llm_calls"], run["tool_calls"], run["output"]) == (2, 1, "3")
