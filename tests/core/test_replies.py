"""Replies are read by their shape; one nobody has seen before must not cost the record of the call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokentrace_core import Usage
from tokentrace_core.replies import Reply, read_reply
from tokentrace_core.streamed_replies import StreamedReply

names = st.sampled_from(
    [
        "choices",
        "message",
        "content",
        "tool_calls",
        "function",
        "arguments",
        "name",
        "id",
        "model",
        "usage",
        "object",
        "type",
        "delta",
        "text",
        "output",
        "response",
        "status",
        "index",
        "partial_json",
        "content_block",
        "stop_reason",
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
    ]
)
values = st.sampled_from(
    [
        "chat.completion.chunk",
        "response",
        "message",
        "message_start",
        "message_delta",
        "content_block_start",
        "content_block_delta",
        "text_delta",
        "input_json_delta",
        "tool_use",
        "response.output_text.delta",
        "response.completed",
        '{"a":1}',
        "{broken",
        "�",
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | values | st.binary(max_size=2)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)
#: Known at the top and wild below, so that the readers of every shape are reached.
shaped = st.one_of(
    st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"message": anything, "delta": anything}))}),
    st.fixed_dictionaries({"object": st.just("response"), "output": st.lists(anything, max_size=3)}),
    st.fixed_dictionaries({"type": st.just("message"), "content": st.lists(anything, max_size=3)}),
    st.fixed_dictionaries({"type": values}, optional={"delta": anything, "message": anything, "index": anything,
                                                       "content_block": anything, "response": anything}),
    anything,
)  # fmt: skip


class NotAReply:
    def model_dump(self, **_: Any) -> Any:
        raise RuntimeError("not today")


@given(shaped)
@settings(max_examples=400)
def test_a_reply_of_any_shape_is_read_as_far_as_it_goes(reply: Any) -> None:
    read = read_reply(reply)
    assert read.usage is None or read.usage.total_tokens > 0
    assert {type(fact) for fact in (read.model, read.stop_reason, read.response_id)} <= {str, type(None)}


@given(st.lists(shaped, max_size=6))
@settings(max_examples=400)
def test_a_stream_of_any_chunks_is_read_as_far_as_it_goes(chunks: list[Any]) -> None:
    stream = StreamedReply()
    for chunk in chunks:
        stream.feed(chunk)
    assert stream.reply.output is None or isinstance(stream.reply.output["content"], str)


@pytest.mark.parametrize("reply", [None, 7, object(), NotAReply(), b"bytes", [], {"choices": "?"}])
def test_what_is_no_reply_at_all_gives_an_empty_one(reply: Any) -> None:
    read = read_reply(reply)
    assert (read.output and read.output["content"], read.usage, read.model) == (None, None, None)


def test_p4_usage_that_grows_from_chunk_to_chunk_counts_once_and_the_last_wins() -> None:
    stream = StreamedReply()
    for tokens in range(1, 51):
        stream.feed(
            {
                "object": "chat.completion.chunk",
                "choices": [{"delta": {"content": "x"}}],
                "usage": {"prompt_tokens": 10, "completion_tokens": tokens},
            }
        )
    assert stream.reply.usage == Usage(input_uncached_tokens=10, output_tokens=50)
    assert stream.reply.output == {"role": "assistant", "content": "x" * 50}


def test_p4_an_anthropic_stream_keeps_what_only_its_first_event_names() -> None:
    stream = StreamedReply()
    first = {"input_tokens": 86, "cache_read_input_tokens": 17_817, "output_tokens": 1}
    stream.feed({"type": "message_start", "message": {"id": "m1", "model": "claude", "usage": first}})
    for tokens in (9, 9, 159):
        stream.feed(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": tokens},
            }
        )
    assert stream.reply.usage == Usage(input_uncached_tokens=86, cache_read_tokens=17_817, output_tokens=159)
    assert (stream.reply.model, stream.reply.response_id, stream.reply.stop_reason) == (
        "claude",
        "m1",
        "end_turn",
    )


def test_a_stream_broken_off_in_the_middle_of_a_tool_call_keeps_the_text_of_its_arguments() -> None:
    stream = StreamedReply()
    stream.feed(
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "t", "name": "go"},
        }
    )
    stream.feed(
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"a": '},
        }
    )
    assert stream.reply.output == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "t", "name": "go", "arguments": '{"a": '}],
    }


def test_a_reply_of_an_unknown_shape_that_says_its_usage_costs_what_it_says() -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 3}
    assert read_reply({"answer": "hi", "usage": usage, "model": "m"}) == Reply(
        usage=Usage(input_uncached_tokens=5, cache_read_tokens=20, output_tokens=3), model="m"
    )


def test_only_the_two_clients_own_raw_responses_are_parsed() -> None:
    class APIResponse:
        def parse(self) -> Any:
            raise AssertionError("code of the user's own was called")

    assert read_reply(APIResponse()) == Reply()


def _langchain(content: Any, **usage: Any) -> dict[str, Any]:
    return {
        "content": content,
        "response_metadata": {},
        "usage_metadata": usage or None,
        "type": "AIMessageChunk",
    }


def test_a_langchain_stream_adds_its_usage_up_but_not_a_prompt_counted_twice() -> None:
    stream = StreamedReply()
    stream.feed(_langchain([{"type": "text", "text": "hi "}], input_tokens=100, output_tokens=0,
                           input_token_details={"cache_read": 30}))  # fmt: skip
    stream.feed(_langchain("there"))
    stream.feed(_langchain("", input_tokens=0, output_tokens=20))
    expected = Usage(input_uncached_tokens=70, cache_read_tokens=30, output_tokens=20)
    assert (stream.reply.usage, stream.reply.output) == (
        expected,
        {"role": "assistant", "content": "hi there"},
    )
    stream.feed(_langchain("", input_tokens=100, output_tokens=25))
    assert stream.reply.usage == Usage(input_uncached_tokens=100, output_tokens=25)
