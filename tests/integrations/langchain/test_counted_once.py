"""Calls that reach a handler twice, in vain or without figures: each is counted once, and says what is not known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel, BaseLLM, LangSmithParams
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_core.runnables import RunnableLambda

from tests.integrations.conftest import LastRun
from tests.integrations.langchain.agents import GO, add, agent, other_model
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
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


class CompletionModel(BaseLLM):
    """A provider of the older kind: several prompts in one request, and one report of usage for all of them."""

    usage_under: str = "token_usage"

    @property
    def _llm_type(self) -> str:
        return "completion"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "gpt-3.5-turbo-instruct"}

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_type="llm")

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        usage = {"prompt_tokens": 100 * len(prompts), "completion_tokens": 20 * len(prompts)}
        return LLMResult(
            generations=[[Generation(text=f"Yes, {prompt}")] for prompt in prompts],
            llm_output={self.usage_under: usage},
        )


@pytest.mark.parametrize("style", ["generate", "agenerate", "batch", "abatch"])
def test_p5_prompts_of_one_request_use_together_what_the_provider_reported(
    style: str, config: Any, stored: Callable[[], Reader], runner: asyncio.Runner
) -> None:
    prompts = ["one", "two", "three"]
    ask: Any = getattr(CompletionModel(), style)
    given = {"config": config} if "batch" in style else config
    if style.startswith("a"):

        async def ask_them() -> None:
            await ask(prompts, **given)

        runner.run(ask_them())
    else:
        ask(prompts, **given)
    reader = stored()
    calls = list(reader.query("select * from llm_calls"))
    assert [row["usage_source"] for row in calls] == ["reported"] * 3
    assert sum(row["input_uncached_tokens"] for row in calls) == 300
    assert sum(row["output_tokens"] for row in calls) == 60
    assert {row["cost_status"] for row in calls} == {"priced"}
    runs = reader.runs()
    assert sum(run["cost_nano_usd"] for run in runs) == 300 * 1500 + 60 * 2000
    assert sum(run["estimated_calls"] for run in runs) == 0
    assert {run["input"] for run in runs} <= set(prompts)


@pytest.mark.parametrize("usage_under", ["token_usage", "usage"])
def test_a_completion_models_usage_is_found_under_either_name(
    usage_under: str, config: Any, last_run: LastRun
) -> None:
    CompletionModel(usage_under=usage_under).invoke(QUESTION, config)
    run, [stored_call] = last_run()
    assert stored_call["usage_source"] == "reported"
    assert (run["input_tokens"], run["output_tokens"]) == (100, 20)


def test_p5_prompts_of_one_request_are_not_each_charged_for_all_of_them(
    config: Any, stored: Callable[[], Reader]
) -> None:
    CompletionModel(usage_under="usage").generate(["one", "two", "three"], **config)
    [row] = stored().query("select sum(input_uncached_tokens) as tokens from llm_calls")
    assert row == {"tokens": 300}


class SilentCompletionModel(CompletionModel):
    """Reports an empty usage, as `OpenAI(streaming=True)` does."""

    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        return LLMResult(
            generations=[[Generation(text="Yes.")] for _ in prompts], llm_output={"token_usage": {}}
        )


def test_p3_a_prompt_alone_whose_usage_is_empty_is_estimated(config: Any, last_run: LastRun) -> None:
    SilentCompletionModel().invoke(QUESTION, config)
    run, [stored_call] = last_run()
    assert stored_call["usage_source"] == "estimated"
    assert run["cost_nano_usd"] > 0


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
