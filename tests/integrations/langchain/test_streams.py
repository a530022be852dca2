"""Streams: read to the end, abandoned, cut off or cancelled, each is one call with figures, and never an error of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from tests.integrations.conftest import LastRun
from tests.integrations.langchain.agents import GO, add, agent
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn, TurnUsage
from tests.loopback.clients import WIRES, chat_openai, langchain_model
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Row

STORY = Turn("Once upon a time there was an agent that never stopped talking.", chunk_delay=0.002)
QUESTION = "Tell me a story."
streamed = pytest.mark.parametrize("call", ["stream", "astream"], indirect=True)


def assert_cancelled(run: Row, calls: list[Row], status: str = "cancelled") -> None:
    [call] = calls
    assert (call["status"], call["error"]) == ("cancelled", None)
    assert call["usage_source"] == "estimated"
    assert call["cost_nano_usd"] > 0
    assert call["output_id"] is not None
    assert (run["status"], run["estimated_calls"]) == (status, 1)
    assert run["cost_nano_usd"] == call["cost_nano_usd"]


@streamed
@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_read_to_the_end_is_like_a_whole_answer(
    call: Driver, server: LoopbackServer, wire: str, config: Any, last_run: LastRun
) -> None:
    server.script(Turn("Once upon a time.", usage=TurnUsage(50, 10)))
    chunks = call(langchain_model(server, wire), QUESTION, config)
    run, [stored_call] = last_run()
    assert "".join(chunk.text for chunk in chunks) == run["output"] == "Once upon a time."
    assert (stored_call["status"], stored_call["usage_source"]) == ("success", "reported")
    assert (run["input_tokens"], run["output_tokens"]) == (50, 10)


@streamed
def test_the_time_to_the_first_token_is_measured(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn(STORY.text, chunk_delay=0.04))
    call(chat_openai(server), QUESTION, config)
    run, [stored_call] = last_run()
    # Of a dozen that come one by one: not the last one's.
    assert 0 < stored_call["first_token_ms"] < (run["ended_at"] - run["started_at"]) / 1000 / 2


def test_p18_a_stream_that_is_abandoned_is_a_cancelled_call_that_costs(
    server: LoopbackServer, config: Any, tracer: Tracer, last_run: LastRun
) -> None:
    server.script(STORY)
    stream = chat_openai(server, stream_usage=True).stream(QUESTION, config)
    next(stream), next(stream)
    stream.close()
    assert_cancelled(*last_run())
    assert tracer.recorder.open_parts == 0


def test_p18_an_async_stream_that_is_abandoned_is_a_cancelled_call_that_costs(
    server: LoopbackServer, config: Any, tracer: Tracer, last_run: LastRun, runner: asyncio.Runner
) -> None:
    async def abandon() -> None:
        stream = chat_openai(server, stream_usage=True).astream(QUESTION, config)
        async for chunk in stream:
            if chunk.text:
                break
        await stream.aclose()

    server.script(STORY)
    runner.run(abandon())
    assert_cancelled(*last_run())
    assert tracer.recorder.open_parts == 0


def test_p18_a_consumer_that_raises_keeps_its_error_and_the_call_is_recorded(
    server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    def listen() -> None:
        for chunk in chat_openai(server, stream_usage=True).stream(QUESTION, config):
            if chunk.text:
                raise KeyError("the consumer's own")

    server.script(STORY)
    with pytest.raises(KeyError, match="the consumer's own"):
        listen()
    assert_cancelled(*last_run())


@streamed
def test_p18_a_stream_that_the_provider_cuts_off_has_failed_and_costs(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn(STORY.text, abort_after=3))
    with pytest.raises(Exception, match=r"peer closed connection|incomplete|Connection error"):
        call(chat_openai(server, stream_usage=True), QUESTION, config)
    run, [stored_call] = last_run()
    assert (run["status"], stored_call["status"]) == ("failure", "failure")
    assert stored_call["usage_source"] == "estimated"
    assert stored_call["output_tokens"] > 0
    assert stored_call["cost_nano_usd"] > 0


def test_p18_an_agents_stream_that_is_abandoned_is_a_cancelled_run(
    server: LoopbackServer, config: Any, tracer: Tracer, last_run: LastRun
) -> None:
    server.script(adding(1, 2), STORY)
    stream = agent(server, add).stream(GO, config, stream_mode="messages")
    for message, _ in stream:
        if message.type == "AIMessageChunk" and message.text:
            break
    stream.close()
    run, calls = last_run()
    # A synchronous graph lets the model in its thread speak to the end.
    assert [row["status"] for row in calls] == ["success", "success"]
    assert (run["status"], run["error"]) == ("cancelled", None)
    assert run["input_tokens"] == server.reported.input
    assert tracer.recorder.open_parts == 0


def test_p18_an_agents_async_stream_that_is_abandoned_is_a_cancelled_run(
    server: LoopbackServer, config: Any, tracer: Tracer, last_run: LastRun, runner: asyncio.Runner
) -> None:
    async def abandon() -> None:
        stream = agent(server, add).astream(GO, config, stream_mode="messages")
        async for message, _ in stream:
            if message.type == "AIMessageChunk" and message.text:
                break
        await stream.aclose()

    server.script(adding(1, 2), STORY)
    runner.run(abandon())
    run, [first, second] = last_run()
    assert (first["status"], second["status"]) == ("success", "cancelled")
    assert second["usage_source"] == "estimated"
    assert run["cost_nano_usd"] == first["cost_nano_usd"] + second["cost_nano_usd"]
    assert (run["status"], run["error"]) == ("cancelled", None)
    assert tracer.recorder.open_parts == 0


@pytest.mark.parametrize("style", ["ainvoke", "astream"])
def test_a_cancelled_task_is_cancelled_and_so_is_its_run(
    server: LoopbackServer,
    style: str,
    config: Any,
    tracer: Tracer,
    last_run: LastRun,
    runner: asyncio.Runner,
) -> None:
    async def cancel() -> None:
        task = asyncio.ensure_future(Driver(style, runner).coroutine(agent(server, add), GO, config))
        while not server.count:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    server.script(Turn("too late", delay=5))
    runner.run(cancel())
    run, [stored_call] = last_run()
    assert (run["status"], run["error"]) == ("cancelled", None)
    assert (stored_call["status"], stored_call["usage_source"]) == ("cancelled", "estimated")
    assert tracer.recorder.open_parts == 0


def test_a_model_asked_after_one_that_took_too_long_is_a_call_of_its_own(
    server: LoopbackServer, config: Any, last_run: LastRun, runner: asyncio.Runner
) -> None:
    async def impatient(question: str) -> str:
        asked = chat_openai(server).ainvoke(question)
        task = asyncio.current_task()
        asyncio.get_running_loop().call_later(0.2, task.cancel)
        try:
            await asked
        except asyncio.CancelledError:
            task.uncancel()
        return (await chat_openai(server).ainvoke(question)).text

    server.answer_with(lambda body: Turn("Once.", delay=0 if server.count else 2))
    assert runner.run(RunnableLambda(impatient).ainvoke(QUESTION, config)) == "Once."
    run, [given_up, answered] = last_run()
    assert (given_up["status"], answered["status"]) == ("cancelled", "success")
    assert run["cost_nano_usd"] == given_up["cost_nano_usd"] + answered["cost_nano_usd"]
    assert given_up["cost_nano_usd"] > 0
