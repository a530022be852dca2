"""An agent resends its whole history at every step; the file must hold each message once all the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core import Redactor, Tracer
from tokentrace_core.payload import Payload, canonical_json, content_id
from tokentrace_core.prompts import Message, PromptHistory
from tokentrace_core.store.reader import Reader

Converse = Callable[..., Path]

redactor = Redactor()
#: Contents that look alike, so that prefixes are often shared.
turns = st.lists(st.sampled_from(["yes", "no", "mail ada@example.com", "é\ud800"]), max_size=12)


def as_is(message: Any) -> Message:
    return message  # type: ignore[no-any-return]


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.fixture
def history() -> PromptHistory:
    return PromptHistory(lambda message: Payload(message, redactor))


@pytest.fixture
def converse(tmp_path: Path) -> Converse:
    """Record an agent of n steps, which sends all it has said at each; the finished file."""

    def record(steps: int, *, rebuilt: bool = False) -> Path:
        path = tmp_path / f"{steps}-{rebuilt}.db"
        with Tracer(path) as tracer, tracer.run("agent") as run:
            messages = [user("the task")]
            for number in range(steps):
                sent = [dict(message) for message in messages] if rebuilt else messages
                with run.llm("gpt-4o", messages=sent) as call:
                    call.done(f"thought {number}: " + "x" * 1_000)
                messages.append({"role": "assistant", "content": f"thought {number}: " + "x" * 1_000})
                messages.append(user(f"observation {number}: " + "y" * 1_000))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
            connection.execute("vacuum")
        return path

    return record


def count(path: Path, sql: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(sql).fetchone()[0])


@pytest.mark.parametrize("rebuilt", [False, True], ids=["same objects", "objects rebuilt for each call"])
@pytest.mark.parametrize("steps", [10, 50, 200])
def test_each_message_is_stored_once_however_often_it_is_sent(
    converse: Converse, steps: int, rebuilt: bool
) -> None:
    path = converse(steps, rebuilt=rebuilt)
    assert count(path, "select count(*) from llm_calls") == steps
    assert count(path, "select count(*) from prompts") == 2 * steps - 1
    assert count(path, "select count(*) from messages") == 2 * steps  # and the last reply, never sent back
    assert count(path, "select max(depth) from prompts") == 2 * steps - 1


def test_two_hundred_steps_take_no_more_bytes_each_than_fifty(converse: Converse) -> None:
    empty = converse(0).stat().st_size
    short, long = (converse(steps).stat().st_size - empty for steps in (50, 200))
    assert long / 200 <= 1.5 * short / 50


def test_a_long_conversation_is_read_back_whole_and_in_order(converse: Converse) -> None:
    path = converse(50)
    with Reader(path) as reader:
        last = reader.llm_calls(reader.run("last")["id"])[-1]
        messages = [row["body"]["content"][:14] for row in reader.messages(last["prompt_id"])]
    assert (len(messages), messages[0], messages[-1]) == (99, "the task", "observation 48")


def test_the_same_message_in_two_runs_is_one_row(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    for _ in range(2):
        with tracer.run("agent") as run, run.llm("gpt-4o", messages=[user("the same")]) as call:
            call.done("sure")
    stored()
    assert count(tracer.path, "select count(*) from messages") == 2
    assert count(tracer.path, "select count(distinct prompt_id) from llm_calls") == 1


def test_two_agents_with_one_beginning_share_its_nodes(history: PromptHistory) -> None:
    system, left, right = user("rules"), user("left"), user("right")
    one, _ = history.prompt([system, left], as_is, None)
    two, _ = history.prompt([system, right], as_is, None)
    assert one
    assert two
    assert one.leaf.parent
    assert two.leaf.parent
    assert one.leaf.parent.id == two.leaf.parent.id
    assert one.leaf.id != two.leaf.id


def test_the_next_call_of_an_agent_reads_only_what_is_new(history: PromptHistory) -> None:
    read: list[Any] = []

    def reading(message: Any) -> Message:
        read.append(message)
        return as_is(message)

    messages = [user("one"), user("two")]
    first, shared = history.prompt(messages, reading, None)
    assert shared == 0
    second, shared = history.prompt([*messages, user("three")], reading, first)
    assert first
    assert second
    assert (shared, len(read), second.leaf.parent) == (2, 3, first.leaf)
    assert second.leaf.size == sum(len(canonical_json(message)) for message in second.leaf.messages())


def test_equal_copies_of_what_was_sent_before_share_its_nodes(history: PromptHistory) -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("no")

        __hash__ = None  # type: ignore[assignment]

    first, _ = history.prompt([user("rules"), user("go")], as_is, None)
    again, shared = history.prompt([user("rules"), user("go"), user("on")], as_is, first)
    assert first
    assert again
    assert (shared, again.leaf.parent) == (2, first.leaf)
    edited, shared = history.prompt([user("rules"), user("stop")], as_is, again)
    assert edited
    assert (shared, edited.leaf.parent) == (1, first.nodes[0])
    odd = {"role": "user", "content": "x", "extra": Incomparable()}
    strange, _ = history.prompt([odd], as_is, None)
    assert history.prompt([{**odd, "extra": Incomparable()}], as_is, strange)[1] == 0


def test_a_first_message_that_is_made_anew_for_each_call_does_not_make_the_rest_new(
    history: PromptHistory,
) -> None:
    """Else a budget takes all that a provider's cache holds for new, and stops the agent too early."""
    go, rules = SimpleNamespace(content="go"), SimpleNamespace(content="rules")
    first, _ = history.prompt([rules, go], vars, None)
    again, shared = history.prompt([SimpleNamespace(content="rules"), go], vars, first)
    assert shared == 2
    _, shared = history.prompt([SimpleNamespace(content="other rules"), go], vars, again)
    assert shared == 0


def test_a_message_edited_in_place_becomes_a_node_of_its_own(history: PromptHistory) -> None:
    messages = [user("rules"), user("draft"), user("go")]
    before, _ = history.prompt(messages, as_is, None)
    messages[1]["content"] = "final"
    after, shared = history.prompt(messages, as_is, before)
    assert before
    assert after
    assert shared == 1
    assert [message["content"] for message in before.leaf.messages()] == ["rules", "draft", "go"]
    assert [message["content"] for message in after.leaf.messages()] == ["rules", "final", "go"]
    assert before.leaf.id != after.leaf.id


def test_the_id_of_a_message_gives_nothing_away_of_what_was_redacted(history: PromptHistory) -> None:
    sent, _ = history.prompt([user("mail ada@example.com")], as_is, None)
    assert sent
    payload = sent.leaf.message
    assert "ada@" not in payload.json
    assert payload.id == content_id(payload.json)


@given(turns, turns)
def test_prompts_have_the_same_id_exactly_if_they_are_the_same(left: list[str], right: list[str]) -> None:
    history = PromptHistory(lambda message: Payload(message, redactor))
    one, _ = history.prompt([user(turn) for turn in left], as_is, None)
    two, _ = history.prompt([user(turn) for turn in right], as_is, None)
    if one and two:
        assert (one.leaf.id == two.leaf.id) == (left == right)
    shared = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
    if one and two and shared:
        assert one.nodes[shared - 1].id == two.nodes[shared - 1].id


def test_a_message_that_cannot_be_read_costs_the_prompt_and_not_the_call(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    def broken(_: Any) -> Message:
        raise ValueError("a new kind of message")

    tracer.recorder.open_llm("call", model="gpt-4o", messages=[object()], to_message=broken)
    tracer.recorder.close_llm("call", output=object(), to_message=broken)
    reader = stored()
    [call] = reader.llm_calls(reader.run("last")["id"])
    assert (call["status"], call["prompt_id"], call["output_id"]) == ("success", None, None)
