"""Each wire format, proven by the clients that read it: what they understand is what the turn says."""

from functools import reduce
from operator import add

import anthropic
import openai
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_openai import OpenAIEmbeddings

from tests.loopback import NO_USAGE, LoopbackServer, ToolCall, Turn, TurnUsage, fixtures
from tests.loopback.clients import (
    QUESTION,
    WIRES,
    anthropic_client,
    ask_anthropic,
    ask_openai,
    chat_openai,
    langchain_model,
    openai_client,
)

server = fixtures.server

SPENT = TurnUsage(input=100, output=20, cached=30, cache_write=10, cache_write_1h=4, reasoning=7)
WEATHER = ToolCall("weather", {"city": "Paris", "days": 3})
TEXT_AND_TOOL = Turn(text="Let me look that up.", tool_calls=(WEATHER,), usage=SPENT)


def weather(city: str, days: int) -> str:
    """The forecast for a city."""
    return f"{days} days of rain in {city}"


def test_an_openai_answer_carries_text_tool_call_and_usage(server: LoopbackServer) -> None:
    server.script(TEXT_AND_TOOL)
    answer = ask_openai(openai_client(server))
    [choice] = answer.choices
    [call] = choice.message.tool_calls
    assert (answer.model, choice.message.content) == ("gpt-4o-mini", TEXT_AND_TOOL.text)
    assert (call.id, call.function.name) == ("call_1_0", "weather")
    assert (call.function.arguments, choice.finish_reason) == ('{"city": "Paris", "days": 3}', "tool_calls")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20)
    assert answer.usage.prompt_tokens_details.cached_tokens == 30
    assert answer.usage.completion_tokens_details.reasoning_tokens == 7


def test_an_openai_stream_grows_in_pieces_and_tells_its_usage_only_on_request(server: LoopbackServer) -> None:
    server.script_loop(TEXT_AND_TOOL)
    client = openai_client(server)
    silent = list(ask_openai(client, stream=True))
    telling = list(ask_openai(client, stream=True, stream_options={"include_usage": True}))
    texts = [chunk.choices[0].delta.content for chunk in silent if chunk.choices[0].delta.content]
    assert len(texts) > 1
    assert "".join(texts) == TEXT_AND_TOOL.text
    assert [chunk.usage for chunk in silent] == [None] * len(silent)
    assert (telling[-1].choices, telling[-1].usage.total_tokens) == ([], 120)
    assert server.reported == TurnUsage(100, 20, cached=30, cache_write=10, reasoning=7)


def test_an_anthropic_answer_counts_cached_and_written_tokens_beside_its_input(
    server: LoopbackServer,
) -> None:
    server.script(TEXT_AND_TOOL)
    answer = ask_anthropic(anthropic_client(server))
    text, tool = answer.content
    usage = answer.usage
    assert (text.text, tool.name, tool.input) == (TEXT_AND_TOOL.text, "weather", WEATHER.arguments)
    assert (tool.id, answer.stop_reason) == ("toolu_1_0", "tool_use")
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (
        60,
        30,
        10,
    )
    assert usage.cache_creation.ephemeral_5m_input_tokens == 6
    assert usage.cache_creation.ephemeral_1h_input_tokens == 4
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (20, 7)
    assert server.reported == SPENT


def test_an_anthropic_stream_adds_up_to_the_answer(server: LoopbackServer) -> None:
    server.script(TEXT_AND_TOOL)
    with anthropic_client(server).messages.stream(
        model="c", max_tokens=100, messages=[{"role": "user", "content": QUESTION}]
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds.count("text") > 1
    assert kinds.count("input_json") > 1
    assert [block.type for block in final.content] == ["text", "tool_use"]
    assert final.content[1].input == WEATHER.arguments
    assert (final.usage.input_tokens, final.usage.output_tokens) == (60, 20)
    assert server.reported == SPENT


def test_a_thin_delta_tells_only_output_at_the_end_of_an_anthropic_stream(server: LoopbackServer) -> None:
    server.script(Turn(text="Yes.", usage=SPENT, thin_delta=True))
    events = list(ask_anthropic(anthropic_client(server), stream=True))
    [start] = [event for event in events if event.type == "message_start"]
    [delta] = [event for event in events if event.type == "message_delta"]
    assert (start.message.usage.input_tokens, start.message.usage.cache_read_input_tokens) == (60, 30)
    assert (delta.usage.input_tokens, delta.usage.output_tokens) == (None, 20)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_langchain_model_reads_the_whole_turn(server: LoopbackServer, wire: str, streamed: bool) -> None:
    server.script(TEXT_AND_TOOL)
    model = langchain_model(server, wire).bind_tools([weather])
    message = reduce(add, model.stream(QUESTION)) if streamed else model.invoke(QUESTION)
    [call] = message.tool_calls
    assert message.text == TEXT_AND_TOOL.text
    assert (call["name"], call["args"]) == (WEATHER.name, WEATHER.arguments)
    assert message.usage_metadata["input_tokens"] == 100
    assert message.usage_metadata["output_tokens"] == 20
    assert message.usage_metadata["input_token_details"]["cache_read"] == 30
    assert message.usage_metadata["output_token_details"]["reasoning"] == 7
    assert (server.count, server.answered, server.requests[0].streamed) == (1, 1, streamed)
    assert server.reported.cache_write == 10


def test_a_langchain_openai_stream_from_another_base_url_has_no_usage(server: LoopbackServer) -> None:
    server.script(TEXT_AND_TOOL)
    message: AIMessageChunk = reduce(add, chat_openai(server).stream(QUESTION))
    assert message.usage_metadata is None
    assert (server.answered, server.reported) == (1, NO_USAGE)


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_may_keep_its_usage_to_itself(server: LoopbackServer, wire: str) -> None:
    server.script(Turn(text="Yes.", report_usage=False))
    message = langchain_model(server, wire).invoke(QUESTION)
    usage = message.usage_metadata or {"total_tokens": 0}
    assert (message.text, usage["total_tokens"]) == ("Yes.", 0)
    assert (server.answered, server.reported) == (1, NO_USAGE)


def test_a_cut_short_response_says_why(server: LoopbackServer) -> None:
    server.script_loop(Turn(text="Once upon a", finish="max_output_tokens"))
    answer = openai_client(server).responses.create(model="gpt-4o-mini", input="Tell me all.")
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    *_, last = openai_client(server).responses.create(model="gpt-4o-mini", input="Tell me.", stream=True)
    assert last.type == "response.incomplete"


def test_a_turn_may_answer_as_another_model_with_another_finish(server: LoopbackServer) -> None:
    server.script_loop(Turn(text="Once", model="newer-model", finish="length"))
    assert ask_openai(openai_client(server)).choices[0].finish_reason == "length"
    answer = ask_anthropic(anthropic_client(server))
    assert (answer.model, answer.stop_reason) == ("newer-model", "length")


def test_each_provider_reports_errors_in_its_own_shape(server: LoopbackServer) -> None:
    server.script_loop(Turn(status=400, error_message="prompt too long"))
    with pytest.raises(openai.BadRequestError, match="prompt too long") as from_openai:
        ask_openai(openai_client(server))
    with pytest.raises(anthropic.BadRequestError, match="prompt too long") as from_anthropic:
        ask_anthropic(anthropic_client(server), stream=True)
    assert from_openai.value.type == "invalid_request_error"
    assert from_anthropic.value.body["error"]["type"] == "invalid_request_error"
    assert (server.count, server.answered, server.reported) == (2, 0, NO_USAGE)


def test_embeddings_are_the_same_in_both_encodings_and_leave_the_script_alone(server: LoopbackServer) -> None:
    server.script(Turn(text="Yes."))
    client = openai_client(server)
    packed = client.embeddings.create(model="text-embedding-3-small", input=["rain", "sun"], dimensions=8)
    plain = client.embeddings.create(
        model="text-embedding-3-small", input="rain", dimensions=8, encoding_format="float"
    )
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert (server.count, server.answered, server.reported) == (2, 2, TurnUsage(input=3, output=0))
    assert ask_openai(client).choices[0].message.content == "Yes."


def test_langchain_embeds_through_the_server(server: LoopbackServer) -> None:
    embeddings = OpenAIEmbeddings(
        base_url=server.openai_url, api_key="test", check_embedding_ctx_length=False, dimensions=8
    )
    assert [len(vector) for vector in embeddings.embed_documents(["rain", "sun"])] == [8, 8]


def test_counting_tokens_and_listing_models_are_no_model_requests(server: LoopbackServer) -> None:
    short, long = (
        anthropic_client(server).messages.count_tokens(
            model="c", messages=[{"role": "user", "content": text}]
        )
        for text in ("rain", "rain " * 100)
    )
    assert short.input_tokens < long.input_tokens
    assert "gpt-4o-mini" in [model.id for model in openai_client(server).models.list()]
    assert "claude-haiku-4-5" in [model.id for model in anthropic_client(server).models.list()]
    assert server.count == 0


def test_a_usage_whose_parts_exceed_the_whole_is_refused() -> None:
    with pytest.raises(ValueError, match="more cached"):
        TurnUsage(input=10, cached=8, cache_write=3)
    with pytest.raises(ValueError, match="one hour"):
        TurnUsage(cache_write_1h=1)
    with pytest.raises(ValueError, match="reasoning"):
        TurnUsage(output=5, reasoning=6)
