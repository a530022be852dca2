"""Chains, models and retrievers without an agent: each is a run too, with what was asked and answered."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from tests.integrations.conftest import LastTree
from tests.integrations.langchain.agents import Library
from tests.integrations.langchain.driving import Driver
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai


def test_a_chain_is_a_run_with_a_step_for_each_model_call(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    chain = ChatPromptTemplate.from_template("About {topic}?") | chat_openai(server, stream_usage=True)
    server.script(Turn("Rain."))
    call(chain | StrOutputParser(), {"topic": "weather"}, config | {"run_name": "explain"})
    assert (
        last_tree()
        == """\
run explain success: {"topic":"weather"} -> Rain.
  step explain 1 - success
    llm gpt-4o-mini success
"""
    )


def test_a_model_alone_is_a_run_of_one_step(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    server.script(Turn("Rain."))
    call(chat_openai(server, stream_usage=True), "Will it rain?", config)
    assert (
        last_tree()
        == """\
run gpt-4o-mini success: Will it rain? -> Rain.
  step gpt-4o-mini 1 - success
    llm gpt-4o-mini success
"""
    )


def test_a_completion_model_is_recorded_as_one(call: Driver, config: Any, last_tree: LastTree) -> None:
    call(FakeListLLM(responses=["Rain."]), "Will it rain?", config)
    assert (
        last_tree()
        == """\
run llm success: Will it rain? -> Rain.
  step llm 1 - success
    completion None success estimated
"""
    )


def test_a_retrieval_belongs_to_the_run_that_asked_for_it(
    call: Driver, server: LoopbackServer, config: Any, last_tree: LastTree
) -> None:
    found = RunnablePassthrough() | {"found": Library()} | ChatPromptTemplate.from_template("{found}")
    server.script(Turn("Rain."))
    call(
        found | chat_openai(server, stream_usage=True) | StrOutputParser(),
        "weather",
        config | {"run_name": "rag"},
    )
    assert (
        last_tree()
        == """\
run rag success: weather -> Rain.
  step rag 1 - success
    retrieval Library{"query":"weather"} success: [{"content":"About weather.","metadata":{"page":7}}]
  step rag 2 - success
    llm gpt-4o-mini success
"""
    )
