"""Answers that come late, or never quite: streams, futures, workflow handlers, cancelled runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from httpx import RemoteProtocolError
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step
from llama_index.core.workflow.handler import WorkflowHandler
from workflows.errors import WorkflowCancelledByUser

from tests.integrations.conftest import LastRun, LastTree
from tests.integrations.llama_index.agents import QUESTION, WIRES, add, agent, library, model
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

LONG = "It will rain all day, and all night, and all week."


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("style", ["stream_chat", "stream_complete"])
def test_p18_an_abandoned_stream_is_a_cancelled_call_that_cost_something(
    server: LoopbackServer, last_run: LastRun, wire: str, style: str
) -> None:
    server.script(Turn(LONG))
    stream = getattr(model(server, wire), style)(QUESTION if style == "stream_chat" else "Will it rain?")
    for piece in stream:
        if piece.delta:
            break
    stream.close()
    run, [call] = last_run()
    assert (run["status"], run["error"], call["status"]) == ("cancelled", None, "cancelled")
    assert (call["usage_source"], call["cost_status"]) == ("estimated", "priced")
    assert call["cost_nano_usd"] > 0
    assert call["output_tokens"] > 0


def test_p18_an_abandoned_asynchronous_stream_is_one_too(
    wait: Wait, server: LoopbackServer, last_run: LastRun
) -> None:
    async def listen_briefly() -> None:
        stream = await model(server).astream_chat(QUESTION)
        async for piece in stream:
            if piece.delta:
                break
        await stream.aclose()  # type: ignore[attr-defined]

    server.script(Turn(LONG))
    wait(listen_briefly())
    run, [call] = last_run()
    assert (run["status"], call["status"], call["usage_source"]) == ("cancelled", "cancelled", "estimated")


def test_a_stream_that_breaks_off_is_billed_for_what_had_come(
    server: LoopbackServer, last_run: LastRun
) -> None:
    server.script(Turn(LONG, abort_after=3))
    with pytest.raises(RemoteProtocolError):
        list(model(server).stream_chat(QUESTION))
    run, [call] = last_run()
    assert (run["status"], call["status"], call["usage_source"]) == ("failure", "failure", "estimated")
    assert call["output_tokens"] > 0


def test_an_abandoned_streamed_query_is_a_cancelled_run(
    server: LoopbackServer, stored: Callable[[], Reader], tracer: Tracer
) -> None:
    server.script(Turn(LONG))
    answer = library().as_query_engine(llm=model(server), streaming=True).query("rain?")
    next(answer.response_gen)
    answer.response_gen.close()
    run = stored().run("last")
    assert (run["name"], run["status"], run["llm_calls"]) == ("RetrieverQueryEngine", "cancelled", 2)
    assert tracer.recorder.open_parts == 0


def test_p20_the_run_is_open_until_the_handlers_result_and_that_is_its_output(
    wait: Wait, server: LoopbackServer, last_run: LastRun
) -> None:
    async def run() -> None:
        handler = agent(server, add).run("go")
        async for _ in handler.stream_events():
            pass
        await handler

    server.script(adding(1, 2, delay=0.05), Turn("three", delay=0.05))
    wait(run())
    run_row, calls = last_run()
    assert (run_row["status"], run_row["output"]) == ("success", "three")
    assert all(call["ended_at"] <= run_row["ended_at"] for call in calls)
    assert run_row["ended_at"] - run_row["started_at"] >= 100_000


def test_p20_a_function_that_returns_a_handler_is_a_run_until_that_is_done(
    wait: Wait, server: LoopbackServer, last_tree: LastTree
) -> None:
    @get_dispatcher().span
    def ask(question: str) -> WorkflowHandler:
        return agent(server, add).run(question)

    async def run() -> None:
        await ask("go")
        await asyncio.sleep(0)

    server.script(Turn("three"))
    wait(run())
    tree = last_tree().splitlines()
    assert tree[0].endswith("success: go -> three")
    assert tree[1:] == ["  step agent 1 model success", "    llm gpt-4o-mini success"]


def test_p20_a_function_that_returns_a_future_is_a_run_until_that_is_done(
    wait: Wait, server: LoopbackServer, last_run: LastRun
) -> None:
    @get_dispatcher().span
    def ask(question: str) -> asyncio.Future[Any]:
        return asyncio.ensure_future(model(server).acomplete(question))

    async def run() -> None:
        await ask("go")
        await asyncio.sleep(0)

    server.script(Turn("three", delay=0.05))
    wait(run())
    run_row, [call] = last_run()
    assert (run_row["status"], run_row["input"]) == ("success", "go")
    assert call["ended_at"] <= run_row["ended_at"]


def test_a_run_cancelled_by_its_user_is_cancelled_and_no_failure(
    wait: Wait, server: LoopbackServer, last_run: LastRun
) -> None:
    async def run() -> None:
        handler = agent(server, add).run("go")
        await asyncio.sleep(0.2)
        await handler.cancel_run()
        with pytest.raises(WorkflowCancelledByUser):
            await handler

    server.script(Turn("three", delay=1))
    wait(run())
    run_row, [call] = last_run()
    assert (run_row["status"], run_row["error"], call["status"]) == ("cancelled", None, "cancelled")


def test_a_workflow_that_raises_has_failed_with_that(wait: Wait, last_run: LastRun) -> None:
    class Broken(Workflow):
        @step
        async def plan(self, ctx: Context, event: StartEvent) -> StopEvent:
            raise ZeroDivisionError("no plan")

    async def run() -> None:
        with pytest.raises(ZeroDivisionError):
            await Broken().run()

    wait(run())
    run_row, _ = last_run()
    assert (run_row["name"], run_row["status"], run_row["error_type"]) == (
        "Broken",
        "failure",
        "ZeroDivisionError",
    )


def test_a_streamed_chat_whose_model_fails_fails_its_run(
    server: LoopbackServer, stored: Callable[[], Reader], tracer: Tracer
) -> None:
    server.script(Turn(status=400, error_message="too long"))
    engine = library().as_chat_engine("context", llm=model(server))
    with pytest.raises(Exception, match="too long"):
        list(engine.stream_chat("rain?").response_gen)
    deadline = time.monotonic() + 5
    while tracer.recorder.open_parts and time.monotonic() < deadline:
        time.sleep(0.005)
    assert (stored().run("last")["status"], tracer.recorder.open_parts) == ("failure", 0)
