"""What is stored of a model call is what the provider reported: every counter, the price, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel

from tests.integrations.langchain.agents import GO, add, adding, agent
from tests.integrations.langchain.driving import Driver
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tests.loopback.clients import WIRES, chat_anthropic, chat_openai, langchain_model
from tokentrace_core import PriceBook, Usage
from tokentrace_core.store.reader import Reader, Row

USED = TurnUsage(input=1000, output=200, cached=300, cache_write=150, cache_write_1h=50, reasoning=70)
COUNTERS = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)
ANSWERED = {"chat": "gpt-4o-mini", "responses": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
PROVIDERS = {"chat": "openai", "responses": "openai", "anthropic": "anthropic"}
STOPS = {"chat": "stop", "responses": "completed", "anthropic": "end_turn"}
RESPONSE_IDS = {"chat": "chatcmpl-000001", "responses": "resp_000001", "anthropic": "msg_000001"}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    """Which of the three wire formats the model speaks."""
    wire: str = request.param
    return wire


@pytest.fixture
def model(server: LoopbackServer, wire: str) -> BaseChatModel:
    return langchain_model(server, wire)


@pytest.fixture
def only_call(stored: Callable[[], Reader]) -> Callable[[], Row]:
    """The one model call that was stored."""

    def read() -> Row:
        reader = stored()
        [run] = reader.runs()
        [call] = reader.llm_calls(run["id"])
        return call

    return read


def test_each_counter_is_stored_as_the_provider_reported_it(
    call: Driver, server: LoopbackServer, wire: str, model: Any, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Yes.", usage=USED))
    call(model, "Will it rain?", config)
    stored_call, told = only_call(), server.reported
    # Only Anthropic's whole answer says for how long the cache was written.
    long_lived = told.cache_write_1h if wire == "anthropic" and not call.streams else 0
    assert [stored_call[name] for name in COUNTERS] == [
        told.fresh_input,
        told.cached,
        told.cache_write - long_lived,
        long_lived,
        told.output,
        told.reasoning,
    ]
    assert stored_call["usage_source"] == "reported"
    assert server.count == server.answered == 1


def test_the_cost_is_what_the_price_book_says_of_these_counters(
    call: Driver, server: LoopbackServer, wire: str, model: Any, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Yes.", usage=USED))
    call(model, "Will it rain?", config)
    stored_call = only_call()
    usage = Usage(**{name: stored_call[name] for name in COUNTERS})
    expected = PriceBook().cost(ANSWERED[wire], usage, provider=PROVIDERS[wire])
    assert stored_call["cost_nano_usd"] == expected * 10**9 > 0
    assert stored_call["cost_status"] == "priced"
    assert ANSWERED[wire] in stored_call["price_version"]


def test_one_hour_cache_writes_cost_what_they_cost(
    server: LoopbackServer, config: Any, only_call: Callable[[], Row]
) -> None:
    usage = TurnUsage(input=1_000_000, output=0, cache_write=1_000_000, cache_write_1h=600_000)
    server.script(Turn("Yes.", usage=usage))
    chat_anthropic(server).invoke("Will it rain?", config)
    # $1 a million: 400,000 at 1.25 times, 600,000 at twice the price.
    assert Decimal(only_call()["cost_nano_usd"]) / 10**9 == Decimal("1.7")


def test_who_answered_and_why_it_stopped_are_stored(
    call: Driver, server: LoopbackServer, wire: str, model: Any, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Yes.", model=f"{ANSWERED[wire]}-2026-01-01"))
    call(model, "Will it rain?", config)
    stored_call = only_call()
    assert stored_call["model"] == ANSWERED[wire]
    assert stored_call["model_answered"] == f"{ANSWERED[wire]}-2026-01-01"
    assert stored_call["provider"] == PROVIDERS[wire]
    assert stored_call["stop_reason"] == STOPS[wire]
    # LangChain drops the id of a streamed answer, but for the Responses API's.
    id_is_known = wire == "responses" or not call.streams
    assert stored_call["response_id"] == (RESPONSE_IDS[wire] if id_is_known else None)
    assert stored_call["status"] == "success"


@pytest.mark.parametrize("wire", ["chat", "anthropic"], indirect=True)
def test_what_was_asked_with_is_stored(
    call: Driver, server: LoopbackServer, wire: str, config: Any, only_call: Callable[[], Row]
) -> None:
    make = chat_anthropic if wire == "anthropic" else chat_openai
    server.script(Turn("Yes."))
    call(make(server, temperature=0.3, max_tokens=77), "Will it rain?", config)
    params = json.loads(only_call()["params"])
    assert (params["temperature"], params["max_tokens"]) == (0.3, 77)


def test_the_prompt_and_the_answer_can_be_read_back(
    call: Driver, server: LoopbackServer, model: Any, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(Turn("Take an umbrella.", tool_calls=(ToolCall("add", {"a": 1, "b": 2}, id="c1"),)))
    call(model.bind_tools([add]), [("system", "Be brief."), ("user", "Will it rain?")], config)
    reader = stored()
    [stored_call] = reader.llm_calls(reader.run("last")["id"])
    assert [row["body"] for row in reader.messages(stored_call["prompt_id"])] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Will it rain?"},
    ]
    assert reader.message(stored_call["output_id"]) == {
        "role": "assistant",
        "content": "Take an umbrella.",
        "tool_calls": [{"id": "c1", "name": "add", "arguments": {"a": 1, "b": 2}}],
    }


def test_an_agents_calls_and_tokens_are_those_that_the_server_counted(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(adding(1, 2, usage=USED), adding(3, 4, usage=TurnUsage(1200, 90, cached=1000)), Turn("10"))
    call(agent(server, add), GO, config)
    run, told = stored().run("last"), server.reported
    assert run["llm_calls"] == server.count == server.answered == 3
    assert (run["input_tokens"], run["cached_tokens"], run["output_tokens"]) == (
        told.input,
        told.cached,
        told.output,
    )
    assert (run["unpriced_calls"], run["estimated_calls"]) == (0, 0)


def test_tool_definitions_and_repeated_messages_are_stored_once(
    call: Driver, server: LoopbackServer, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(adding(1, 2), adding(3, 4), Turn("10"))
    call(agent(server, add), GO, config)
    reader = stored()
    calls = reader.llm_calls(reader.run("last")["id"])
    assert len({row["tools_id"] for row in calls}) == 1
    [definition] = reader.message(calls[0]["tools_id"])
    assert definition["function"]["name"] == "add"
    # The question, and for each of two steps what the model said and what the tool gave.
    assert [len(reader.messages(row["prompt_id"])) for row in calls] == [1, 3, 5]
    assert next(reader.query("select count(*) as n from prompts"))["n"] == 5


def test_an_anthropic_answer_that_reports_zeros_is_estimated_and_marked(
    call: Driver, server: LoopbackServer, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Take an umbrella.", report_usage=False))
    model: ChatAnthropic = chat_anthropic(server)
    call(model, "Will it rain?", config)
    stored_call = only_call()
    assert stored_call["usage_source"] == "estimated"
    assert stored_call["input_uncached_tokens"] > 0
    assert stored_call["output_tokens"] > 0
    assert stored_call["cost_nano_usd"] > 0
