"""A reply that breaks off may end in half a secret, which nobody would know for one: it is not kept."""

from __future__ import annotations

from random import Random

import pytest

from tests.privacy.canaries.kinds import KINDS
from tokentrace_core import Redactor, Tracer
from tokentrace_core.broken_off import without_loose_end

#: So many characters of a secret tell something.
PART = 10


@pytest.mark.parametrize("kind", KINDS)
def test_wherever_a_reply_breaks_off_no_part_of_a_secret_is_left(kind: str) -> None:
    redactor, before = Redactor(), "The customer wrote "
    secret = KINDS[kind](Random(kind))
    text = before + secret.text
    whole = secret.core if len(secret.core) >= PART else secret.text
    parts = {whole[at : at + PART] for at in range(len(whole) - PART + 1)}
    for end in range(len(before), len(text)):
        kept = redactor.redact(without_loose_end(text[:end]))
        assert not [part for part in parts if part in kept]


@pytest.mark.parametrize(
    "text", ["It will rai", "It will ", "Rain, says 7 of 9", "", "雨が降" * 200, "I am afraid so."]
)
def test_a_reply_that_breaks_off_in_an_ordinary_word_is_told_as_it_came(text: str) -> None:
    assert without_loose_end(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The card 4111 1111 1111 11", "The card [DROPPED len=17]"),
        ("Write to ada@exam", "Write to [DROPPED len=8]"),
        ("a" * 100_000, "[DROPPED len=100000]"),
    ],
)
def test_what_is_dropped_says_how_long_it_was(text: str, kept: str) -> None:
    assert without_loose_end(text) == kept


def test_a_broken_message_keeps_its_shape_and_the_ids_of_its_calls() -> None:
    call = {"id": "call_1_0", "name": "look_up_2", "arguments": {"query": "ghp_0123456789"}}
    message = {"role": "assistant", "content": [{"type": "text", "text": "ada@exam"}], "tool_calls": [call]}
    assert without_loose_end(message) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "[DROPPED len=8]"}],
        "tool_calls": [{**call, "arguments": {"query": "[DROPPED len=14]"}}],
    }


def test_what_had_arrived_of_a_stream_is_stored_without_its_loose_end(tracer: Tracer) -> None:
    call = tracer.llm("gpt-4o-mini", messages="x")
    call.begin()
    for piece in ("Your card ", "is 4111 11", "11 1111"):
        call.chunk({"choices": [{"delta": {"content": piece}}]})
    call.end(ConnectionError())
    assert call.span is not None
    assert call.span.output is not None
    assert call.span.output.value == {"role": "assistant", "content": "Your card is [DROPPED len=14]"}
