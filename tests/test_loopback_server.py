"""The loopback server's script and counts, proven by the real clients it stands in for.

The rest of the test suite trusts these counts: how often a client really asked, and what it was really told. That
each wire format says what the turn says is proven beside it, in `loopback/test_wire_formats.py`.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.loopback import NO_USAGE, LoopbackServer, ToolCall, Turn, TurnUsage, fixtures
from tests.loopback.clients import (
    QUESTION,
    WIRES,
    anthropic_client,
    ask_anthropic,
    ask_openai,
    chat_anthropic,
    chat_openai,
    langchain_model,
    openai_client,
)

server = fixtures.server

WEATHER = ToolCall("weather", {"city": "Paris"})
AT_ONCE = {"retry-after-ms": "1"}


def chat_text(client: openai.OpenAI, question: str) -> str | None:
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": question}])
    return answer.choices[0].message.content


def test_a_retried_429_counts_two_requests_and_one_answer(server: LoopbackServer) -> None:
    server.script(Turn(status=429, headers=AT_ONCE), Turn(text="Yes."))
    assert ask_openai(openai_client(server)).choices[0].message.content == "Yes."
    assert (server.count, server.answered, server.reported) == (2, 1, TurnUsage())
    assert [request.status for request in server.requests] == [429, 200]


def test_a_retried_529_counts_two_requests_and_one_answer(server: LoopbackServer) -> None:
    server.script(Turn(status=529, headers=AT_ONCE), Turn(text="Yes."))
    assert ask_anthropic(anthropic_client(server)).content[0].text == "Yes."
    assert (server.count, server.answered) == (2, 1)


@pytest.mark.parametrize("ask", [ask_openai, ask_anthropic])
def test_a_stream_cut_off_delivers_what_was_sent_and_raises(server: LoopbackServer, ask: Any) -> None:
    server.script(Turn(text="It will certainly rain.", abort_after=4))
    client = openai_client(server) if ask is ask_openai else anthropic_client(server)
    received = []
    with pytest.raises(httpx.RemoteProtocolError):
        received.extend(chunk for chunk in ask(client, stream=True))
    assert len(received) == 4
    assert (server.count, server.answered, server.reported) == (1, 0, NO_USAGE)


@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_cut_off_raises_through_langchain(server: LoopbackServer, wire: str) -> None:
    server.script(Turn(text="It will certainly rain.", abort_after=4))
    with pytest.raises(httpx.RemoteProtocolError):
        list(langchain_model(server, wire).stream(QUESTION))
    assert (server.count, server.answered, server.reported) == (1, 0, NO_USAGE)


def test_an_unstreamed_answer_cut_off_is_not_sent_at_all(server: LoopbackServer) -> None:
    server.script(Turn(text="Yes.", abort_after=0))
    with pytest.raises(openai.APIConnectionError):
        ask_openai(openai_client(server, max_retries=0))
    assert (server.count, server.answered) == (1, 0)


def test_a_stream_the_client_abandons_is_no_answer(server: LoopbackServer) -> None:
    server.script_loop(Turn(text="It will certainly rain.", chunk_delay=0.02))
    client = openai_client(server)
    with ask_openai(client, stream=True) as abandoned:
        next(abandoned)
    # Read at the same pace but begun later: when this one ends, the abandoned one would have ended too.
    list(ask_openai(client, stream=True))
    assert [request.answered for request in server.requests] == [False, True]


def test_a_late_answer_meets_the_timeout_of_the_client(server: LoopbackServer) -> None:
    server.script(Turn(text="Yes.", delay=60))
    with pytest.raises(openai.APITimeoutError):
        ask_openai(openai_client(server, max_retries=0, timeout=0.05))
    assert (server.count, server.answered) == (1, 0)


def test_a_script_run_out_fails_without_being_retried(server: LoopbackServer) -> None:
    server.script(Turn(text="Yes."))
    client = openai_client(server)
    ask_openai(client)
    with pytest.raises(openai.InternalServerError, match="no turn left"):
        ask_openai(client)
    assert (server.count, server.answered) == (2, 1)


def test_a_mistake_in_the_answering_function_reaches_the_client(server: LoopbackServer) -> None:
    server.answer_with(lambda body: Turn(text=body["prompt"]))
    with pytest.raises(anthropic.InternalServerError, match="KeyError"):
        ask_anthropic(anthropic_client(server))
    assert server.count == 1


def test_fifty_requests_at_once_each_get_their_own_answer(server: LoopbackServer) -> None:
    all_inside = threading.Barrier(50)
    questions = [f"question {number}" for number in range(50)]

    def echo(body: Any) -> Turn:
        all_inside.wait(timeout=30)
        return Turn(text=f"echo {body['messages'][0]['content']}")

    server.answer_with(echo)
    client = openai_client(server)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda question: chat_text(client, question), questions))
    assert answers == [f"echo {question}" for question in questions]
    assert (server.count, server.answered) == (50, 50)
    assert server.reported == TurnUsage(input=5000, output=1000)
    assert [request.number for request in server.requests] == list(range(1, 51))


def test_async_clients_are_served_at_once(server: LoopbackServer) -> None:
    server.script_loop(Turn(text="Yes."))

    async def ask_all() -> list[Any]:
        models = [chat_openai(server), chat_anthropic(server)]
        return await asyncio.gather(*(model.ainvoke(QUESTION) for model in models for _ in range(5)))

    with asyncio.Runner() as runner:
        answers = runner.run(ask_all())
    assert {answer.text for answer in answers} == {"Yes."}
    assert (server.count, server.answered) == (10, 10)


def test_a_reset_server_is_as_new(server: LoopbackServer) -> None:
    server.script_loop(Turn(text="Yes.", tool_calls=(WEATHER,)))
    client = openai_client(server)
    ask_openai(client)
    server.reset()
    assert (server.count, server.answered, server.reported) == (0, 0, NO_USAGE)
    server.script(Turn(tool_calls=(WEATHER, WEATHER, ToolCall("weather", id="mine"))))
    [choice] = ask_openai(client).choices
    assert [call.id for call in choice.message.tool_calls] == ["call_1_0", "call_1_1", "mine"]


def test_a_recorded_request_shows_what_was_asked(server: LoopbackServer) -> None:
    turn = Turn(text="Yes.")
    server.script(turn)
    ask_anthropic(anthropic_client(server), temperature=0.3)
    [request] = server.requests
    assert (request.path, request.status, request.streamed) == ("/v1/messages", 200, False)
    assert (request.body["temperature"], request.headers["x-api-key"]) == (0.3, "test")
    assert request.turn is turn
