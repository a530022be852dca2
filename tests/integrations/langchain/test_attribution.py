"""Whose run it is: session, user and labels, from where the program says it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from tests.integrations.langchain.agents import GO, add, agent
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader, Row

LastRow = Callable[[], Row]


@pytest.fixture
def run(stored: Callable[[], Reader]) -> LastRow:
    """The only run there is."""

    def read() -> Row:
        [row] = stored().runs()
        return row

    return read


SESSIONS = {
    "session_id wins": ({"session_id": "s", "conversation_id": "c"}, "t", "s"),
    "then the thread": ({"conversation_id": "c"}, "t", "t"),
    "then conversation_id": ({"conversation_id": "c"}, None, "c"),
    "then the session block": ({}, None, "ambient"),
}


@pytest.mark.parametrize(("metadata", "thread_id", "expected"), SESSIONS.values(), ids=SESSIONS)
def test_the_session_is_the_most_particular_one(
    call: Driver,
    server: LoopbackServer,
    tracer: Tracer,
    config: Any,
    run: LastRow,
    metadata: dict[str, Any],
    thread_id: str | None,
    expected: str,
) -> None:
    server.script(Turn("done"))
    where = {"configurable": {"thread_id": thread_id}} if thread_id else {}
    with tracer.session("ambient", user="ada"):
        call(agent(server, add), GO, config | where | {"metadata": metadata})
    row = run()
    assert row["session_id"] == expected
    assert row["user_id"] == "ada"


def test_without_any_session_a_run_is_its_own(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(Turn("done"))
    call(agent(server, add), GO, config)
    row = run()
    assert (row["session_id"], row["user_id"]) == (row["id"], None)


def test_the_runs_of_a_thread_are_one_session(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script_loop(Turn("done"))
    chat = agent(server, add)
    chat.checkpointer = InMemorySaver()
    for _ in range(3):
        call(chat, GO, config | {"configurable": {"thread_id": "t1"}, "metadata": {"user_id": "ada"}})
    reader = stored()
    assert [(row["session_id"], row["llm_calls"]) for row in reader.runs()] == [("t1", 1)] * 3
    [session] = reader.query("select * from sessions")
    assert (session["id"], session["user_id"]) == ("t1", "ada")


FACTS = {
    "user_id": "ada",
    "session_id": "s1",
    "task_type": "triage",
    "agent_version": "1.4",
    "environment": "staging",
    "customer": "acme",
}


def assert_labelled(row: Row) -> None:
    assert (row["user_id"], row["session_id"]) == ("ada", "s1")
    assert (row["task_type"], row["agent_version"], row["environment"]) == ("triage", "1.4", "staging")
    assert json.loads(row["tags"]) == ["prod"]
    assert json.loads(row["attributes"]) == {"customer": "acme"}
    assert row["framework"] == "langchain"


def test_metadata_and_tags_label_the_run(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(adding(1, 2), Turn("3"))
    call(agent(server, add), GO, config | {"metadata": FACTS, "tags": ["prod"]})
    assert_labelled(run())


def test_a_model_called_without_an_agent_is_labelled_too(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(Turn("3"))
    labels = {"metadata": FACTS, "tags": ["prod"], "run_name": "classify"}
    call(chat_openai(server, stream_usage=True), "1+2?", config | labels)
    row = run()
    assert_labelled(row)
    assert (row["name"], row["input"], row["output"]) == ("classify", "1+2?", "3")


def test_a_tool_called_without_an_agent_is_a_run(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    call(add, {"a": 1, "b": 2}, config | {"metadata": FACTS, "tags": ["prod"]})
    row = run()
    assert_labelled(row)
    assert (row["name"], row["tool_calls"], row["output"]) == ("add", 1, "3")


def test_a_handler_bound_to_a_part_of_a_chain_keeps_the_users_own_tags_and_no_others(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(Turn("3"))
    model = chat_openai(server, stream_usage=True)
    part = (RunnableLambda(lambda question: question) | model).with_config(config | {"tags": ["prod"]})
    call(RunnableLambda(lambda question: question) | part, "1+2?")
    assert json.loads(run()["tags"]) == ["prod"]


def test_a_handler_bound_to_a_model_in_a_chain_reads_the_labels_of_the_run(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(Turn("3"))
    model = chat_openai(server, stream_usage=True).with_config(config)
    call(RunnableLambda(lambda question: question) | model, "1+2?", {"metadata": FACTS, "tags": ["prod"]})
    assert_labelled(run())


def test_a_handler_bound_to_an_agent_records_every_call_of_it(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(adding(1, 2), Turn("3"))
    call(agent(server, add).with_config(config | {"metadata": FACTS, "tags": ["prod"]}), GO)
    assert_labelled(run())


@pytest.mark.usefixtures("instrumented")
def test_process_wide_recording_reads_the_same_labels(
    call: Driver, server: LoopbackServer, run: LastRow
) -> None:
    server.script(adding(1, 2), Turn("3"))
    call(agent(server, add), GO, {"metadata": FACTS, "tags": ["prod"]})
    assert_labelled(run())


def test_the_name_of_a_run_is_the_agents_or_the_one_it_is_given(
    call: Driver, server: LoopbackServer, config: Any, run: LastRow
) -> None:
    server.script(Turn("3"))
    call(agent(server, add, name="adder"), GO, config | {"run_name": "nightly"})
    row = run()
    assert (row["name"], row["input"], row["output"]) == ("nightly", "go", "3")
