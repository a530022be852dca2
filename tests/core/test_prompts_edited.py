"""A history that is edited in place: each prompt is recorded as it was sent, not as it once was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

Conversation = list[dict[str, Any]]


def _clear_old_result(conversation: Conversation) -> None:
    conversation[1]["output"] = "[cleared]"


def _clear_text_of_block(conversation: Conversation) -> None:
    conversation[0]["content"][0]["text"] = "[cleared]"


def _move_cache_mark(conversation: Conversation) -> None:
    conversation[0]["content"][0]["cache_control"] = {"type": "ephemeral"}


def _append_block(conversation: Conversation) -> None:
    conversation[0]["content"].append({"type": "text", "text": "and this"})


@pytest.mark.parametrize("edit", [_clear_old_result, _clear_text_of_block, _move_cache_mark, _append_block])
def test_a_prompt_is_stored_as_it_was_sent_although_its_messages_are_the_same_objects(
    edit: Callable[[Conversation], None], tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    conversation: Conversation = [
        {"role": "user", "content": [{"type": "text", "text": "original question"}]},
        {"type": "function_call_output", "call_id": "c", "output": "original result"},
    ]
    with tracer.run("agent") as run:
        sent = []
        for _ in range(2):
            with run.llm("gpt-4o", messages=conversation) as call:
                call.done("ok")
            sent.append(copy.deepcopy(conversation))
            edit(conversation)
    reader = stored()
    prompts = [reader.messages(call["prompt_id"]) for call in reader.llm_calls(run.id or "")]
    assert len({call["prompt_id"] for call in reader.llm_calls(run.id or "")}) == 2
    assert [[message["body"] for message in prompt] for prompt in prompts] == sent
    assert sent[0] != sent[1]


def test_a_history_that_only_grows_shares_its_nodes(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    conversation: Conversation = [{"role": "user", "content": [{"type": "text", "text": "question"}]}]
    with tracer.run("agent") as run:
        for number in range(20):
            with run.llm("gpt-4o", messages=conversation, system="be brief") as call:
                call.done("ok")
            conversation.append({"role": "user", "content": f"turn {number}"})
    reader = stored()
    [counts] = reader.query(
        "select (select count(*) from prompts) as nodes, (select count(*) from messages) as kept"
    )
    assert counts["nodes"] == 21
    assert counts["kept"] == 22
