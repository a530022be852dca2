"""Calls that reach a handler twice, in vain or without figures: each is counted once, and says what is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda

from tests.integrations.langchain.agents import GO, add, adding, agent, other_model
from tests.integrations.langchain.conftest import LastRun
from tests.integrations.langchain.driving import Driver
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler

QUESTION = "Will it rain?"


# ── without figures ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("call", ["stream", "astream"], indirect=True)
def test_p3_a_stream_without_usage_is_estimated_and_marked(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn("Take an umbrella, and boots."))
    call(chat_openai(server), QUESTION, config)
    run, [stored_call] = last_run()
    assert stored_call["usage_source"] == "estimated"
    assert stored_call["input_uncached_tokens"] > 0
    assert stored_call["output_tokens"] == 7
    assert run["cost_nano_usd"] == stored_call["cost_nano_usd"] > 0
    assert run["estimated_calls"] == 1


class CumulativeModel(BaseChatModel):
    """Its chunks each repeat the usage so far, as some providers' do; LangChain adds them up."""

    @property
    def _llm_type(self) -> str:
        return "cumulative"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for number in range(50):
            usage = {"input_tokens": 10, "output_tokens": number + 1, "total_tokens": number + 11}
            yield ChatGenerationChunk(message=AIMessageChunk(content="x", usage_metadata=usage))


@pytest.mark.parametrize("call", ["stream", "astream"], indirect=True)
def test_p4_usage_that_every_chunk_repeats_is_taken_once(
    call: Driver, config: Any, last_run: LastRun
) -> None:
    call(CumulativeModel(), QUESTION, config)
    _, [stored_call] = last_run()
    assert (stored_call["input_uncached_tokens"], stored_call["output_tokens"]) == (10, 50)


def test_p8_a_model_without_a_price_costs_nobody_knows_what_and_is_counted(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn("Yes.", model="foo-9"))
    call(other_model(server, "foo-9"), QUESTION, config)
    run, [stored_call] = last_run()
    assert (stored_call["cost_nano_usd"], stored_call["cost_status"]) == (None, "unpriced")
    assert (run["cost_nano_usd"], run["unpriced_calls"], run["input_tokens"]) == (0, 1, 100)


@pytest.mark.parametrize("budget", [Budget(run_usd=1, on_unpriced="block")])
def test_p8_a_model_without_a_price_can_be_refused(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn("Yes."))
    with pytest.raises(BudgetExceeded, match=r"foo-9.*has no price"):
        call(other_model(server, "foo-9"), QUESTION, config)
    assert server.count == 0
    assert [row["status"] for row in last_run()[1]] == ["refused"]


# ── reported twice ───────────────────────────────────────────────────────────────────────────────────────


def test_p5_two_handlers_of_one_tracer_record_a_run_once(
    call: Driver, server: LoopbackServer, tracer: Tracer, last_run: LastRun
) -> None:
    server.script(adding(1, 2), Turn("3"))
    call(agent(server, add), GO, {"callbacks": [TokentraceHandler(tracer), TokentraceHandler(tracer)]})
    run, calls = last_run()
    assert (run["llm_calls"], run["tool_calls"], run["steps"], len(calls)) == (2, 1, 2, 2)
    assert run["input_tokens"] == server.reported.input


@pytest.mark.usefixtures("instrumented")
def test_p5_a_handler_beside_process_wide_recording_records_a_run_once(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(adding(1, 2), Turn("3"))
    call(agent(server, add), GO, config)
    run, calls = last_run()
    assert (run["llm_calls"], run["tool_calls"], run["steps"], len(calls)) == (2, 1, 2, 2)
    assert run["input_tokens"] == server.reported.input


class WrappingModel(BaseChatModel):
    """A model that asks another, as LangChain's own routers and rate limiters do."""

    inner: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return "wrapping"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[{"message": self.inner.invoke(messages)}])

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[{"message": await self.inner.ainvoke(messages)}])


@pytest.mark.usefixtures("instrumented")
def test_p5_a_model_that_asks_another_is_charged_once(
    call: Driver, server: LoopbackServer, last_run: LastRun
) -> None:
    server.script(Turn("Yes."))
    call(WrappingModel(inner=chat_openai(server)), QUESTION)
    run, calls = last_run()
    assert [row["cost_status"] for row in calls] == ["free", "priced"]
    assert (run["input_tokens"], run["output_tokens"]) == (server.reported.input, server.reported.output)
    assert run["cost_nano_usd"] == calls[1]["cost_nano_usd"]


@pytest.mark.usefixtures("instrumented")
def test_p5_a_model_in_an_agent_that_asks_another_is_charged_once(
    call: Driver, server: LoopbackServer, last_run: LastRun
) -> None:
    server.script(Turn("Yes."))
    call(chain_of(WrappingModel(inner=chat_openai(server))), QUESTION)
    run, calls = last_run()
    assert [row["cost_status"] for row in calls] == ["free", "priced"]
    assert (run["steps"], run["input_tokens"]) == (1, server.reported.input)


def chain_of(model: Any) -> Any:
    return RunnableLambda(lambda question: question) | model


@pytest.mark.usefixtures("instrumented")
def test_p5_a_model_asked_while_another_one_streams_is_a_call_of_its_own(
    server: LoopbackServer, last_run: LastRun
) -> None:
    server.script_loop(Turn("Yes."))

    def ask_while_listening(question: str) -> str:
        for _ in chat_openai(server, stream_usage=True).stream(question):
            chat_openai(server).invoke(question)
        return "done"

    RunnableLambda(ask_while_listening).invoke(QUESTION)
    run, calls = last_run()
    assert len(calls) == server.answered > 2
    assert {row["cost_status"] for row in calls} == {"priced"}
    assert run["input_tokens"] == server.reported.input


@pytest.mark.usefixtures("instrumented")
def test_p5_prompts_of_one_batch_are_calls_of_their_own(server: LoopbackServer, last_run: LastRun) -> None:
    server.script_loop(Turn("Yes."))
    with_three = RunnableLambda(lambda _: chat_openai(server).generate([[HumanMessage(QUESTION)]] * 3))
    with_three.invoke(QUESTION)
    run, calls = last_run()
    assert [row["cost_status"] for row in calls] == ["priced"] * 3
    assert run["input_tokens"] == server.reported.input


@pytest.fixture
def _local_cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("_local_cache")
@pytest.mark.parametrize("call", ["invoke", "ainvoke"], indirect=True)
def test_p10_an_answer_from_the_local_cache_costs_nothing(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(Turn("Yes."))
    for _ in range(2):
        call(chat_openai(server), QUESTION, config)
    reader = stored()
    cached, asked = reader.runs()
    [stored_call] = reader.llm_calls(cached["id"])
    assert server.count == 1
    assert asked["cost_nano_usd"] > 0
    assert (cached["cost_nano_usd"], cached["input_tokens"]) == (0, 0)
    assert (stored_call["cost_nano_usd"], stored_call["cost_status"]) == (0, "cached")
    assert '"tokens_saved":120' in stored_call["attributes"]
