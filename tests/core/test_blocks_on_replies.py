"""`call.done(reply)` and `call.chunk(chunk)`, with what the providers' own clients really give back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tests.loopback.clients import (
    QUESTION,
    anthropic_client,
    ask_anthropic,
    ask_openai,
    langchain_model,
    openai_client,
)
from tokentrace_core import Tracer, Usage
from tokentrace_core.store.reader import Reader

SPENT = TurnUsage(input=100, output=20, cached=30, cache_write=10, cache_write_1h=4, reasoning=7)
TURN = Turn(text="Let me look that up.", tool_calls=(ToolCall("weather", {"city": "Paris"}),), usage=SPENT)

Ask = Callable[..., Any]
Row = dict[str, Any]


def _chat(server: LoopbackServer, stream: bool) -> Any:
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return ask_openai(openai_client(server), **more)


def _responses(server: LoopbackServer, stream: bool) -> Any:
    return openai_client(server).responses.create(model="gpt-4o-mini", input=QUESTION, stream=stream)


def _messages(server: LoopbackServer, stream: bool) -> Any:
    return ask_anthropic(anthropic_client(server), stream=stream)


WIRES = {
    "chat": (_chat, "gpt-4o-mini"),
    "responses": (_responses, "gpt-4o-mini"),
    "messages": (_messages, "claude-haiku-4-5"),
}
#: What each wire tells of the cache writes: only Anthropic's has lifetimes.
WRITES = {"chat": (10, 0), "responses": (10, 0), "messages": (6, 4)}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(wire: str, server: LoopbackServer) -> Ask:
    """Ask the wire's client once; a reply, or a stream of chunks."""
    server.script_loop(TURN)

    def ask(*, stream: bool) -> Any:
        return WIRES[wire][0](server, stream)

    return ask


@pytest.fixture
def recorded(tracer: Tracer, stored: Callable[[], Reader]) -> Callable[[], tuple[Row, Any]]:
    """The one call that was recorded, and the model's message in it."""

    def read() -> tuple[Row, Any]:
        reader = stored()
        [call] = reader.llm_calls(reader.run("last")["id"])
        return call, reader.message(call["output_id"])

    return read


def check(wire: str, call: Row, message: Any) -> None:
    assert (call["status"], call["usage_source"], call["cost_status"]) == ("success", "reported", "priced")
    assert (call["input_uncached_tokens"], call["cache_read_tokens"], call["output_tokens"]) == (60, 30, 20)
    assert (call["cache_write_5m_tokens"], call["cache_write_1h_tokens"]) == WRITES[wire]
    assert call["model_answered"] == WIRES[wire][1]
    assert call["response_id"]
    assert call["stop_reason"] in {"tool_calls", "completed", "tool_use"}
    assert (message["role"], message["content"]) == ("assistant", TURN.text)
    [asked] = message["tool_calls"]
    assert (asked["name"], asked["arguments"]) == ("weather", {"city": "Paris"})


def test_a_whole_reply_gives_usage_price_text_and_tool_calls(
    tracer: Tracer, wire: str, ask: Ask, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    with tracer.llm(WIRES[wire][1], messages=QUESTION) as call:
        call.done(ask(stream=False))
    check(wire, *recorded())


def test_a_whole_reply_as_a_plain_dict_gives_the_same(
    tracer: Tracer, wire: str, ask: Ask, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    with tracer.llm(WIRES[wire][1], messages=QUESTION) as call:
        call.done(ask(stream=False).model_dump())
    check(wire, *recorded())


def test_p3_a_stream_taken_chunk_by_chunk_gives_the_same(
    tracer: Tracer, wire: str, ask: Ask, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    with tracer.llm(WIRES[wire][1], messages=QUESTION) as call:
        for chunk in ask(stream=True):
            call.chunk(chunk)
    row, message = recorded()
    check(wire, row, message)
    assert row["first_token_ms"] >= 0


def test_p3_a_decorated_generator_that_passes_the_stream_on_gives_the_same(
    tracer: Tracer, wire: str, ask: Ask, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    @tracer.llm(WIRES[wire][1])
    def stream(prompt: str) -> Iterator[Any]:
        yield from ask(stream=True)

    assert len(list(stream(QUESTION))) > 2
    check(wire, *recorded())


def test_a_tool_the_reply_asked_for_is_placed_in_the_step_of_that_reply(
    tracer: Tracer, wire: str, ask: Ask, recorded: Callable[[], tuple[Row, Any]], stored: Callable[[], Reader]
) -> None:
    with tracer.run("agent") as run:
        with run.llm(WIRES[wire][1]) as call:
            call.done(ask(stream=False))
        with run.llm("gpt-4o-mini"):
            pass
        reader = stored()
        first = reader.llm_calls(run.id or "")[0]
        [asked] = reader.message(first["output_id"])["tool_calls"]
        with run.tool("weather", tool_call_id=asked["id"]):
            pass
    [tool] = stored().tool_calls(run.id or "")
    assert tool["step_id"] == first["step_id"]


def test_a_raw_response_is_read_as_what_its_client_parses_from_it(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    server.script_loop(TURN)
    raw = openai_client(server).chat.completions.with_raw_response
    reply = tracer.llm("gpt-4o-mini")(raw.create)(
        model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}]
    )
    assert reply.headers["content-type"] == "application/json"
    check("chat", *recorded())


def test_an_anthropic_raw_response_is_read_too(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    server.script_loop(TURN)
    with tracer.llm("claude-haiku-4-5") as call:
        call.done(
            anthropic_client(server).messages.with_raw_response.create(
                model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
            )
        )
    check("messages", *recorded())


def test_a_raw_response_that_nobody_has_read_is_left_to_its_reader(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    server.script_loop(TURN)
    create = openai_client(server).chat.completions.with_streaming_response.create
    with create(model="gpt-4o-mini", messages=[{"role": "user", "content": QUESTION}]) as response:
        with tracer.llm("gpt-4o-mini") as call:
            call.done(response)
        assert TURN.text in "".join(response.iter_text())
    assert recorded()[0]["usage_source"] == "estimated"


@pytest.mark.parametrize("wire", WIRES, indirect=True)
def test_a_langchain_message_given_to_done_costs_what_it_cost(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]], wire: str
) -> None:
    server.script_loop(TURN)
    model = langchain_model(server, {"messages": "anthropic"}.get(wire, wire))
    with tracer.llm(WIRES[wire][1], messages=QUESTION) as call:
        call.done(model.invoke(QUESTION))
    row, message = recorded()
    assert (row["usage_source"], row["input_uncached_tokens"], row["output_tokens"]) == ("reported", 60, 20)
    assert (row["cache_read_tokens"], row["model_answered"]) == (30, WIRES[wire][1])
    assert (message["role"], message["content"]) == ("assistant", TURN.text)
    [asked] = message["tool_calls"]
    assert (asked["name"], asked["arguments"]) == ("weather", {"city": "Paris"})


def test_embeddings_cost_what_they_cost(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    embed = tracer.llm("text-embedding-3-small")(openai_client(server).embeddings.create)
    reply = embed(model="text-embedding-3-small", input="hello world")
    row, _ = recorded()
    assert (row["usage_source"], row["input_uncached_tokens"], row["output_tokens"]) == (
        "reported",
        reply.usage.prompt_tokens,
        0,
    )


def test_a_reply_that_is_not_understood_is_named_once_by_its_type_alone(
    tracer: Tracer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer:
        secret = "sk-4711"

    monkeypatch.setattr("tokentrace_core.call_blocks._said", set())
    for _ in range(3):
        with tracer.llm("gpt-4o") as call:
            call.done(Answer())
    with tracer.llm("gpt-4o") as call:
        call.done(b"sk-4711", usage=Usage(input_uncached_tokens=7))
    [told] = [record.getMessage() for record in caplog.records]
    assert told.startswith("tokentrace: this reply was not understood, its usage is estimated: ")
    assert told.endswith(".Answer (said once)")
    assert "4711" not in told


def test_p3_a_stream_without_usage_is_estimated_and_marked(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    server.script(Turn(text="forty characters of text, more or less.."))
    with tracer.llm("gpt-4o-mini", messages=QUESTION) as call:
        for chunk in ask_openai(openai_client(server), stream=True):
            call.chunk(chunk)
    row, _ = recorded()
    assert (row["usage_source"], row["output_tokens"], row["cost_status"]) == ("estimated", 10, "priced")


def test_a_provider_that_fails_is_a_failed_call_that_cost_nothing(
    tracer: Tracer, server: LoopbackServer, recorded: Callable[[], tuple[Row, Any]]
) -> None:
    server.script(Turn(status=400, error_message="no such model"))
    with pytest.raises(Exception, match="no such model") as caught, tracer.llm("gpt-4o-mini") as call:
        call.done(ask_openai(openai_client(server)))
    row, message = recorded()
    assert (row["status"], row["error_type"]) == ("failure", type(caught.value).__name__)
    assert (row["cost_nano_usd"], row["output_tokens"], message) == (0, None, None)
