"""Query engines, chat engines, retrievers, embeddings and structured prediction: hidden calls are calls too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from tests.integrations.conftest import LastRun, LastTree
from tests.integrations.llama_index.agents import library, model
from tests.integrations.llama_index.conftest import Wait
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

RAINY = '{"content":"It will rain.","metadata":{},"score":'


class Weather(BaseModel):
    """Tomorrow's."""

    wet: bool


@pytest.fixture
def index(tracer: Tracer) -> Any:
    """An index whose making is a run of its own."""
    return library()


async def astream(engine: Any, asked: str) -> str:
    answer = await engine.astream_chat(asked)
    return "".join([piece async for piece in answer.async_response_gen()])


async def astream_query(engine: Any) -> str:
    answer = await engine.aquery("rain?")
    return "".join([piece async for piece in answer.async_response_gen()])


QUERIES: dict[str, Callable[[Wait, Any, Any], str]] = {
    "query": lambda wait, index, llm: str(index.as_query_engine(llm=llm).query("rain?")),
    "aquery": lambda wait, index, llm: str(wait(index.as_query_engine(llm=llm).aquery("rain?"))),
    "streamed query": lambda wait, index, llm: str(
        index.as_query_engine(llm=llm, streaming=True).query("rain?")
    ),
    "streamed aquery": lambda wait, index, llm: wait(
        astream_query(index.as_query_engine(llm=llm, streaming=True))
    ),
}
CHATS: dict[str, Callable[[Wait, Any], str]] = {
    "chat": lambda wait, engine: str(engine.chat("rain?")),
    "achat": lambda wait, engine: str(wait(engine.achat("rain?"))),
    "stream_chat": lambda wait, engine: "".join(engine.stream_chat("rain?").response_gen),
    "astream_chat": lambda wait, engine: wait(astream(engine, "rain?")),
}


def shape(tree: str) -> list[str]:
    """The tree without what was found."""
    return [line.partition("{")[0].rstrip() for line in tree.splitlines()]


@pytest.mark.parametrize("ask", QUERIES.values(), ids=QUERIES)
def test_a_query_is_a_retrieval_and_a_call(
    wait: Wait, server: LoopbackServer, index: Any, last_tree: LastTree, ask: Callable[..., str]
) -> None:
    server.script(Turn("It will."))
    assert ask(wait, index, model(server)) == "It will."
    assert shape(last_tree()) == [
        "run RetrieverQueryEngine success: rain? -> It will.",
        "  step RetrieverQueryEngine 1 - success",
        "    embedding unknown success estimated",
        "    retrieval VectorIndexRetriever",
        "  step RetrieverQueryEngine 2 - success",
        "    llm gpt-4o-mini success",
    ]
    assert server.count == 1


@pytest.mark.parametrize("ask", CHATS.values(), ids=CHATS)
def test_a_second_question_costs_a_hidden_call_that_condenses_it(
    wait: Wait,
    server: LoopbackServer,
    index: Any,
    stored: Callable[[], Reader],
    last_tree: LastTree,
    tracer: Tracer,
    ask: Callable[..., str],
) -> None:
    engine = index.as_chat_engine("condense_plus_context", llm=model(server))
    server.script(Turn("Hello."), Turn("Will it rain?"), Turn("It will."))
    ask(wait, engine)
    assert ask(wait, engine) == "It will."
    assert shape(_settled(last_tree, tracer)) == [
        "run CondensePlusContextChatEngine success: rain? -> It will.",
        "  step CondensePlusContextChatEngine 1 - success",
        "    completion gpt-4o-mini success",
        "    embedding unknown success estimated",
        "    retrieval VectorIndexRetriever",
        "  step CondensePlusContextChatEngine 2 - success",
        "    llm gpt-4o-mini success",
    ]
    calls = stored().query("select count(*) as calls from llm_calls where kind != 'embedding'")
    assert [*calls] == [{"calls": server.count}] == [{"calls": 3}]


def _settled(last_tree: LastTree, tracer: Tracer) -> str:
    """The tree, once the thread that writes a streamed answer to the memory has done so."""
    deadline = time.monotonic() + 5
    while tracer.recorder.open_parts and time.monotonic() < deadline:
        time.sleep(0.005)
    return last_tree()


def test_a_retriever_asked_alone_is_a_retrieval_with_what_it_found(index: Any, last_tree: LastTree) -> None:
    index.as_retriever().retrieve("rain?")
    tree = last_tree()
    assert shape(tree)[1:] == [
        "  step VectorIndexRetriever 1 - success",
        "    embedding unknown success estimated",
        "    retrieval VectorIndexRetriever",
    ]
    assert RAINY in tree


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"]], ids=["one", "batches"])
@pytest.mark.parametrize("style", ["sync", "async"])
def test_embeddings_are_estimated_from_what_was_embedded(
    wait: Wait, last_run: LastRun, texts: list[str], style: str
) -> None:
    embedding = MockEmbedding(8, embed_batch_size=2)
    if style == "sync":
        embedding.get_text_embedding_batch(texts)
    else:
        wait(embedding.aget_text_embedding_batch(texts))
    run, calls = last_run()
    assert [call["kind"] for call in calls] == ["embedding"] * ((len(texts) + 1) // 2)
    assert {call["usage_source"] for call in calls} == {"estimated"}
    assert all(call["input_uncached_tokens"] > 0 for call in calls)
    assert run["output"] is None


def test_an_embedding_that_fails_fails_its_run(last_run: LastRun) -> None:
    class Broken(MockEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            raise ZeroDivisionError("no vectors")

    with pytest.raises(ZeroDivisionError):
        Broken(8).get_text_embedding("one")
    run, [call] = last_run()
    assert (run["status"], run["error_type"], call["status"]) == ("failure", "ZeroDivisionError", "failure")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_structured_prediction_is_one_call(
    server: LoopbackServer, last_run: LastRun, streaming: bool
) -> None:
    server.script(Turn('{"wet": true}'))
    llm, prompt = model(server), PromptTemplate("Will it rain?")
    if streaming:
        assert [*llm.stream_structured_predict(Weather, prompt)][-1].wet  # type: ignore[union-attr]
    else:
        assert llm.structured_predict(Weather, prompt).wet
    run, [call] = last_run()
    assert server.count == 1
    assert (call["kind"], call["usage_source"], run["name"]) == ("chat", "reported", "OpenAI")


def test_a_paid_answer_that_cannot_be_parsed_keeps_its_figures(
    server: LoopbackServer, last_run: LastRun
) -> None:
    server.script(Turn("no JSON"))
    with pytest.raises(ValueError, match="JSON"):
        model(server).structured_predict(Weather, PromptTemplate("Will it rain?"))
    run, [call] = last_run()
    assert (run["status"], call["status"], call["input_uncached_tokens"]) == ("failure", "success", 100)


def test_a_prediction_is_one_call_of_one_run(server: LoopbackServer, last_run: LastRun) -> None:
    server.script(Turn("It will."))
    assert model(server).predict(PromptTemplate("Will it rain?")) == "It will."
    run, [call] = last_run()
    assert (run["output"], call["kind"], server.count) == ("It will.", "chat", 1)
