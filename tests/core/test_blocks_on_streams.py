"""`@tracer.llm` on functions whose answer is still to come: the call lasts until it is there, and costs what it cost."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import openai
import pytest

from tests.loopback import LoopbackServer, Turn, TurnUsage
from tests.loopback.clients import QUESTION, anthropic_client, chat_anthropic, chat_openai, openai_client
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]
SPENT = TurnUsage(input=100, output=20)
TURN = Turn(text="It will rain in Paris.", usage=SPENT)
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
OPENAI = {"model": "gpt-4o-mini", "messages": MESSAGES}
ANTHROPIC = {"model": "claude-haiku-4-5", "messages": MESSAGES, "max_tokens": 100}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
def spent(stored: Stored) -> Callable[[], tuple[Any, ...]]:
    """How the one call that was recorded ended, and what it used."""

    def read() -> tuple[Any, ...]:
        [row] = stored().query(
            "select status, usage_source, input_uncached_tokens, output_tokens from llm_calls"
        )
        return tuple(row.values())

    return read


REPORTED = ("success", "reported", 100, 20)


@pytest.fixture(autouse=True)
def _answers(server: LoopbackServer) -> None:
    server.script_loop(TURN)


@pytest.fixture
def async_client(server: LoopbackServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.openai_url, api_key="test")


# ── awaited later ────────────────────────────────────────────────────────────────────────────────────────


def test_the_method_of_an_async_client_is_recorded_when_its_answer_is_there(
    tracer: Tracer, async_client: openai.AsyncOpenAI, spent: Any
) -> None:
    ask = tracer.llm("gpt-4o-mini")(async_client.chat.completions.create)
    reply = asyncio.run(ask(**OPENAI))  # type: ignore[arg-type]
    assert reply.choices[0].message.content == TURN.text
    assert spent() == REPORTED


def test_the_stream_of_an_async_client_is_recorded_when_it_is_consumed(
    tracer: Tracer, async_client: openai.AsyncOpenAI, spent: Any
) -> None:
    ask: Any = tracer.llm("gpt-4o-mini")(async_client.chat.completions.create)

    async def main() -> str:
        async with await ask(**OPENAI, **STREAMED) as stream:
            assert isinstance(stream, openai.AsyncStream)
            pieces = [piece async for piece in stream]
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)

    assert asyncio.run(main()) == TURN.text
    assert spent() == REPORTED


def test_an_object_that_is_called_like_a_coroutine_stays_one(tracer: Tracer, spent: Any) -> None:
    class Ask:
        async def __call__(self, prompt: str) -> Any:
            await asyncio.sleep(0)
            return {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}

    ask = tracer.llm("gpt-4o-mini")(Ask())
    assert inspect.iscoroutinefunction(ask)
    asyncio.run(ask("hello"))
    assert spent() == REPORTED


def test_a_task_that_a_function_returns_is_the_same_task_and_its_result_is_the_reply(
    tracer: Tracer, spent: Any
) -> None:
    async def answer() -> Any:
        await asyncio.sleep(0)
        return {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}

    @tracer.llm("gpt-4o-mini")
    def ask(prompt: str) -> asyncio.Task[Any]:
        return asyncio.create_task(answer())

    async def main() -> None:
        task = ask("hello")
        assert isinstance(task, asyncio.Task)
        await task

    asyncio.run(main())
    assert spent() == REPORTED


@pytest.mark.parametrize("fails", ["in the task", "never awaited"])
@pytest.mark.filterwarnings("ignore:coroutine")
def test_what_is_awaited_in_vain_or_not_at_all_is_not_left_open(
    tracer: Tracer, stored: Stored, fails: str
) -> None:
    async def answer() -> None:
        raise KeyError("4711")

    ask = tracer.tool("ask")(lambda: answer())
    with tracer.run("agent"):
        pending = ask()
        if fails == "in the task":
            with pytest.raises(KeyError):
                asyncio.run(pending)
        del pending
        gc.collect()
    [row] = stored().query("select status, error_type from tool_calls")
    assert tuple(row.values()) == (("failure", "KeyError") if fails == "in the task" else ("cancelled", None))


# ── streams ──────────────────────────────────────────────────────────────────────────────────────────────


def _openai_stream(server: LoopbackServer) -> Any:
    return openai_client(server).chat.completions.create(**OPENAI, **STREAMED)


def _anthropic_stream(server: LoopbackServer) -> Any:
    return anthropic_client(server).messages.create(**ANTHROPIC, stream=True)


@pytest.mark.parametrize(
    ("ask", "kind"),
    # `anthropic.Stream` denies all but its very own type.
    [(_openai_stream, openai.Stream), (_anthropic_stream, Iterator)],
)
def test_a_clients_stream_that_a_function_returns_is_read_as_its_consumer_reads_it(
    tracer: Tracer, server: LoopbackServer, stored: Stored, spent: Any, ask: Any, kind: type
) -> None:
    decorated = tracer.llm("gpt-4o-mini")(ask)
    with tracer.run("agent") as run:
        stream = decorated(server)
        assert isinstance(stream, kind)
        assert stream.response.status_code == 200
        with tracer.tool("between"):
            assert len(list(stream)) > 2
        stream.close()
    assert spent() == REPORTED
    reader = stored()
    [call] = reader.llm_calls(run.id or "")
    assert reader.message(call["output_id"])["content"] == TURN.text
    assert call["first_token_ms"] >= 0


def test_a_stream_used_as_a_context_manager_is_recorded_and_closed(
    tracer: Tracer, server: LoopbackServer, spent: Any
) -> None:
    with tracer.llm("gpt-4o-mini")(_openai_stream)(server) as stream:
        assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == TURN.text
    assert stream.response.is_closed
    assert spent() == REPORTED


@pytest.mark.parametrize("how", ["closed", "left", "forgotten"])
def test_p18_a_stream_given_up_halfway_is_cancelled_with_what_had_come(
    tracer: Tracer, stored: Stored, how: str
) -> None:
    class Stream:
        def __init__(self) -> None:
            self.pieces = iter(["half an ", "answer"])

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return next(self.pieces)

        def __enter__(self) -> Stream:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            self.pieces = iter([])

    ask = tracer.llm("gpt-4o")(lambda prompt: Stream())
    with tracer.run("agent") as run:
        stream = ask("hello " * 50)
        with stream if how == "left" else tracer.step("read"):
            assert next(stream) == "half an "
            if how == "closed":
                stream.close()
        del stream
    reader = stored()
    [call] = reader.llm_calls(run.id or "")
    assert (call["status"], call["usage_source"], call["cost_nano_usd"] > 0) == (
        "cancelled",
        "estimated",
        True,
    )
    assert reader.message(call["output_id"])["content"] == "half an "


def test_a_stream_that_breaks_off_fails_the_call_and_raises_what_it_raised(
    tracer: Tracer, stored: Stored
) -> None:
    error = ConnectionError("gone")

    def pieces() -> Iterator[str]:
        yield "half"
        raise error

    async def async_pieces() -> AsyncIterator[str]:
        yield "half"
        raise error

    async def consume(stream: Any) -> None:
        async for _ in stream:
            pass

    with pytest.raises(ConnectionError) as caught:
        list(tracer.llm("gpt-4o")(lambda: pieces())())
    assert caught.value is error
    with pytest.raises(ConnectionError) as caught:
        asyncio.run(consume(tracer.llm("gpt-4o")(lambda: async_pieces())()))
    assert caught.value is error
    assert [row["status"] for row in stored().query("select status from llm_calls")] == ["failure"] * 2


@pytest.mark.parametrize("model", [chat_openai, chat_anthropic])
def test_the_stream_of_a_langchain_model_gives_its_usage(
    tracer: Tracer, server: LoopbackServer, spent: Any, model: Any
) -> None:
    settings = {"stream_usage": True}
    ask = tracer.llm("gpt-4o-mini")(lambda prompt: model(server, **settings).stream(prompt))
    assert "".join(chunk.content if isinstance(chunk.content, str) else chunk.text for chunk in ask(QUESTION))
    assert spent() == REPORTED


def test_what_a_tool_returns_is_never_wrapped(tracer: Tracer) -> None:
    items = iter([1, 2])
    assert tracer.tool("items")(lambda: items)() is items


def test_a_stream_given_to_done_is_left_alone_and_the_user_told_once(
    tracer: Tracer, spent: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokentrace_core.call_blocks._said", set())
    stream = iter(["a", "b"])
    with caplog.at_level(logging.WARNING), tracer.llm("gpt-4o", messages="hello") as call:
        call.done(stream)
        call.done(stream)
    assert list(stream) == ["a", "b"]
    assert [record.getMessage() for record in caplog.records].count(
        "tokentrace: a stream was given to call.done; its usage is estimated, "
        "feed its pieces to call.chunk (said once)"
    ) == 1
    assert spent()[:2] == ("success", "estimated")


def test_what_a_function_said_of_its_reply_outlives_the_text_it_returns(tracer: Tracer, spent: Any) -> None:
    @tracer.llm("gpt-4o-mini")
    def ask(prompt: str) -> str:
        call = tracer.current_llm()
        assert call is not None
        call.done({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})
        return "only the text"

    assert ask("hello") == "only the text"
    assert spent() == REPORTED
