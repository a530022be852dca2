"""What frameworks say beside a call is read the same, whichever of the usual spellings they use."""

from __future__ import annotations

from typing import Any

import pytest

from tokentrace_core.facts import cache_lifetime, content_of, request_parameters, run_facts

HOUR = {"type": "ephemeral", "ttl": "1h"}
FIVE_MINUTES = {"type": "ephemeral"}
TEXT = {"type": "text", "text": "Will it rain?"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}


# ── whose run it is ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("metadata", [None, {}])
def test_without_metadata_nothing_is_known(metadata: Any) -> None:
    assert run_facts(metadata) == {"session": None, "user": None, "attributes": {}}


@pytest.mark.parametrize(
    ("metadata", "session"),
    [
        ({"conversation_id": "c", "thread_id": "t", "session_id": "s"}, "s"),
        ({"conversation_id": "c", "thread_id": "t"}, "t"),
        ({"conversation_id": "c"}, "c"),
        ({"session_id": None, "thread_id": "t"}, "t"),
        ({"session_id": 0, "thread_id": "t"}, "0"),
    ],
)
def test_the_most_deliberate_spelling_of_a_session_wins(metadata: Any, session: str) -> None:
    facts = run_facts(metadata)
    assert (facts["session"], facts["attributes"]) == (session, {})


def test_ids_that_are_numbers_are_texts_in_the_record() -> None:
    facts = run_facts({"user_id": 7, "session_id": 4711})
    assert (facts["user"], facts["session"]) == ("7", "4711")


def test_the_columns_of_a_run_are_no_attributes_and_only_those_that_are_given_are_named() -> None:
    facts = run_facts(
        {"task_type": "triage", "agent_version": "1.4", "environment": None, "customer": "acme"}
    )
    assert facts == {
        "task_type": "triage",
        "agent_version": "1.4",
        "session": None,
        "user": None,
        "attributes": {"customer": "acme"},
    }


def test_what_a_framework_adds_itself_is_left_out_and_only_that() -> None:
    metadata = {"ls_provider": "openai", "my_ls_note": "kept", 7: "seven"}
    assert run_facts(metadata, ("ls_",))["attributes"] == {"my_ls_note": "kept", 7: "seven"}
    assert run_facts(metadata)["attributes"] == metadata


# ── with which parameters ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spelling", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_every_spelling_of_the_longest_reply_is_one_parameter(spelling: str) -> None:
    assert request_parameters({spelling: 77}) == {"max_tokens": 77}


def test_parameters_that_change_no_answer_and_those_not_given_are_left_out() -> None:
    sent = {"temperature": 0, "stream": False, "top_p": None, "api_key": "secret", "messages": ["go"]}
    assert request_parameters(sent) == {"temperature": 0, "stream": False}


def test_a_spelling_that_is_empty_does_not_hide_the_one_that_is_given() -> None:
    assert request_parameters({"max_tokens": 77, "max_completion_tokens": None}) == {"max_tokens": 77}


def test_the_order_of_parameters_does_not_depend_on_the_request() -> None:
    one, other = {"seed": 1, "temperature": 0.5}, {"temperature": 0.5, "seed": 1}
    assert list(request_parameters(one)) == list(request_parameters(other)) == ["temperature", "seed"]


# ── for how long it caches ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([{"cache_control": HOUR}], id="the request itself"),
        pytest.param([{}, [{"name": "add"}, {"name": "sub", "cache_control": HOUR}]], id="a tool"),
        pytest.param([{}, None, "go", [TEXT, TEXT | {"cache_control": HOUR}]], id="a message"),
        pytest.param([[TEXT | {"cache_control": HOUR}, TEXT | {"cache_control": FIVE_MINUTES}]], id="both"),
    ],
)
def test_a_request_that_caches_anything_for_an_hour_says_so(parts: list[Any]) -> None:
    assert cache_lifetime(*parts) == "1h"


@pytest.mark.parametrize(
    "part",
    [
        None,
        "1h",
        {},
        {"ttl": "1h"},
        [],
        [None, "1h", 7],
        {"cache_control": "1h"},
        {"cache_control": FIVE_MINUTES},
        [TEXT | {"cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    ],
)
def test_any_other_request_does_not(part: Any) -> None:
    assert cache_lifetime(part) is None


# ── in which blocks ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [None, "Yes.", 7, {"type": "text"}])
def test_content_that_is_no_list_stays_as_it_is(content: Any) -> None:
    assert content_of(content) == content


@pytest.mark.parametrize("kind", ["text", "text_delta", "output_text"])
def test_a_reply_in_pieces_reads_like_a_whole_one(kind: str) -> None:
    assert (
        content_of([{"type": kind, "text": "Will it "}, {"type": kind, "text": "rain?"}]) == "Will it rain?"
    )
    assert content_of(["Will it ", {"type": kind, "text": "rain?", "index": 0}]) == "Will it rain?"
    assert content_of([]) == ""


@pytest.mark.parametrize(
    "kind", ["tool_use", "function_call", "tool_call", "tool_call_chunk", "input_json_delta"]
)
def test_blocks_that_repeat_the_tool_calls_are_left_out(kind: str) -> None:
    asks = {"type": kind, "id": "c1", "name": "add", "input": {"a": 1}}
    assert content_of([TEXT, asks]) == "Will it rain?"
    assert content_of([asks]) == ""
    assert content_of([asks, TEXT, IMAGE]) == [TEXT, IMAGE]


@pytest.mark.parametrize(
    "other",
    [
        IMAGE,
        {"type": "text"},
        {"type": "text", "text": 7},
        {"type": ["text"], "text": "odd"},
        {"text": "odd"},
        7,
        None,
    ],
)
def test_blocks_of_another_kind_keep_the_content_as_it_is(other: Any) -> None:
    assert content_of([TEXT, other]) == [TEXT, other]
