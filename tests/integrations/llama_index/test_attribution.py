"""Whose run it is: tags, session blocks, many at once; and switching the recording on and off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager
from llama_index_instrumentation.dispatcher import instrument_tags

import tokentrace_llama_index
from tests.integrations.conftest import LastRun
from tests.integrations.llama_index.agents import QUESTION, add, agent, answer, asking, model
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_llama_index import TokentraceHandler

SESSION_NAMES = ("session_id", "thread_id", "conversation_id")


@pytest.mark.parametrize("name", SESSION_NAMES)
def test_tags_say_whose_run_it_is(wait: Wait, server: LoopbackServer, last_run: LastRun, name: str) -> None:
    async def run() -> None:
        with instrument_tags({name: "ticket-1", "user_id": "ada", "task_type": "sums", "team": "red"}):
            handler = agent(server, add).run("go")
        await handler

    server.script(adding(1, 2), Turn("three"))
    wait(run())
    row, _ = last_run()
    assert (row["session_id"], row["user_id"], row["task_type"]) == ("ticket-1", "ada", "sums")
    assert row["attributes"] in ('{"team":"red"}', {"team": "red"})


def test_tags_say_whose_call_it_is(server: LoopbackServer, last_run: LastRun) -> None:
    server.script(Turn("It will."))
    with instrument_tags({"session_id": "ticket-1", "user_id": "ada"}):
        model(server).chat(QUESTION)
    row, _ = last_run()
    assert (row["session_id"], row["user_id"], row["input"]) == ("ticket-1", "ada", "Will it rain?")


def test_a_session_block_says_it_too(
    wait: Wait, server: LoopbackServer, tracer: Tracer, last_run: LastRun
) -> None:
    async def run() -> None:
        with tracer.session("ticket-2", user="bob"):
            await agent(server, add).run("go")

    server.script(Turn("three"))
    wait(run())
    row, _ = last_run()
    assert (row["session_id"], row["user_id"]) == ("ticket-2", "bob")


def test_an_agent_inside_a_run_of_ones_own_is_a_part_of_that(
    wait: Wait, server: LoopbackServer, tracer: Tracer, last_run: LastRun
) -> None:
    async def run() -> None:
        with tracer.run("triage"), instrument_tags({"user_id": "nobody"}):
            await agent(server, add).run("go")
            model(server).complete("and?")

    server.script(adding(1, 2), Turn("three"), Turn("four"))
    wait(run())
    row, calls = last_run()
    assert (row["name"], len(calls), row["llm_calls"], row["user_id"]) == ("triage", 3, 3, None)


def test_p13_p14_twenty_runs_at_once_keep_apart(
    wait: Wait, server: LoopbackServer, stored: Callable[[], Reader], tracer: Tracer
) -> None:
    both = (ToolCall("ask", {"question": "sum?"}), ToolCall("add", {"a": 3, "b": 4}))

    def think(body: dict) -> Turn:  # type: ignore[type-arg]
        tools, said = [tool["function"]["name"] for tool in body["tools"]], body["messages"][-1]
        if said["role"] == "tool":
            return Turn("three", delay=0.01)
        return Turn(tool_calls=both, delay=0.01) if "ask" in tools else adding(1, 2, delay=0.01)

    async def run(number: int) -> None:
        with instrument_tags({"session_id": f"s{number}", "user_id": f"u{number}"}):
            inner = agent(server, add, name=f"inner{number}")
            assert await answer(agent(server, asking(inner), add, name=f"outer{number}")) == "three"

    async def all_at_once() -> None:
        await asyncio.gather(*map(run, range(20)))

    server.answer_with(think)
    wait(all_at_once())
    reader = stored()
    runs = [*reader.runs()]
    assert len(runs) == 20
    assert server.count == 80
    for row in runs:
        number = row["name"].removeprefix("outer")
        assert (row["session_id"], row["user_id"]) == (f"s{number}", f"u{number}")
        assert (row["llm_calls"], row["tool_calls"], row["steps"], row["status"]) == (4, 3, 4, "success")
        agents = {step["agent"] for step in reader.steps(row["id"])}
        assert agents == {f"outer{number}", f"inner{number}"}
    assert tracer.recorder.open_parts == 0


def test_the_older_idiom_records_agents_tools_and_models_made_before_it(
    wait: Wait, server: LoopbackServer, tracer: Tracer, last_tree: Callable[[], str]
) -> None:
    tokentrace_llama_index.uninstrument()
    made_before = agent(server, add)
    Settings.callback_manager = CallbackManager([TokentraceHandler(tracer)])
    try:
        server.script(adding(1, 2), Turn("three"))
        wait(answer(made_before))
    finally:
        Settings.callback_manager = CallbackManager([])
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


def test_instrumenting_twice_records_once_and_the_last_tracer_records(
    server: LoopbackServer, tracer: Tracer, db: Path, last_run: LastRun
) -> None:
    with Tracer(db.with_name("other.db")) as other:
        tokentrace_llama_index.instrument(other)
        tokentrace_llama_index.instrument(tracer)
        tokentrace_llama_index.instrument(tracer)
        server.script(Turn("It will."))
        model(server).chat(QUESTION)
        _, calls = last_run()
        assert len(calls) == 1
        assert other.flush(5)
        with Reader(other.path) as reader:
            assert not [*reader.runs()]


def test_switched_off_nothing_is_recorded_and_on_again_everything(
    server: LoopbackServer, tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    llm = model(server)
    server.script_loop(Turn("It will."))
    for counted in (1, 2):
        tokentrace_llama_index.instrument(tracer)
        llm.chat(QUESTION)
        tokentrace_llama_index.uninstrument()
        llm.chat(QUESTION)
        assert len([*stored().runs()]) == counted
    assert server.count == 4


def test_without_the_framework_the_error_is_the_line_that_installs_it() -> None:
    code = "import sys; sys.modules['llama_index'] = None\nimport tokentrace_llama_index"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'tokentrace[llama-index]'" in done.stderr
