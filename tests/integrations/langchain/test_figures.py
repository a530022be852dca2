"""What is stored of a model call is what the provider reported: every counter, the price, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel

from tests.integrations.figures import COUNTERS, counters_of, counters_of_server, statuses
from tests.integrations.langchain.agents import GO, add, agent
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tests.loopback.clients import WIRES, chat_anthropic, chat_openai, langchain_model
from tokentrace_core import PriceBook, Usage
from tokentrace_core.store.reader import Reader, Row

USED = TurnUsage(input=1000, output=200, cached=300, cache_write=150, reasoning=70)
HOUR = {"type": "ephemeral", "ttl": "1h"}
FIVE_MINUTES = {"type": "ephemeral"}
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
    call: Driver, server: LoopbackServer, model: Any, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Yes.", usage=USED))
    call(model, "Will it rain?", config)
    stored_call = only_call()
    assert counters_of(stored_call) == counters_of_server(server.reported)
    assert stored_call["usage_source"] == "reported"
    assert server.count == server.answered == 1


@pytest.mark.parametrize("call", ["invoke", "ainvoke"], indirect=True)
def test_an_answer_that_tells_two_cache_lifetimes_apart_is_stored_so(
    call: Driver, server: LoopbackServer, config: Any, only_call: Callable[[], Row]
) -> None:
    server.script(Turn("Yes.", usage=replace(USED, cache_write_1h=50)))
    call(chat_anthropic(server), "Will it rain?", config)
    stored_call = only_call()
    assert counters_of(stored_call) == counters_of_server(server.reported)
    assert (stored_call["cache_write_5m_tokens"], stored_call["cache_write_1h_tokens"]) == (100, 50)


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


@pytest.mark.parametrize("call", ["invoke", "ainvoke"], indirect=True)
def test_one_hour_cache_writes_cost_what_they_cost(
    call: Driver, server: LoopbackServer, config: Any, only_call: Callable[[], Row]
) -> None:
    usage = TurnUsage(input=1_000_000, output=0, cache_write=1_000_000, cache_write_1h=600_000)
    server.script(Turn("Yes.", usage=usage))
    call(chat_anthropic(server), "Will it rain?", config)
    # $1 a million: 400,000 at 1.25 times, 600,000 at twice the price.
    assert Decimal(only_call()["cost_nano_usd"]) / 10**9 == Decimal("1.7")


def asking_with(control: dict[str, str]) -> dict[str, Callable[[Any, Driver, Any], Any]]:
    """The places where a program can say for how long Anthropic shall cache."""
    question = {"type": "text", "text": "Will it rain?", "cache_control": control}
    definition = {
        "name": "add",
        "description": "Add.",
        "input_schema": {"type": "object", "properties": {}},
        "cache_control": control,
    }
    return {
        "message": lambda model, call, config: call(model, [("user", [question])], config),
        "system": lambda model, call, config: call(model, [("system", [question]), ("user", "?")], config),
        "tool": lambda model, call, config: call(model.bind_tools([definition]), "?", config),
        "request": lambda model, call, config: call(model.bind(cache_control=control), "?", config),
    }


@pytest.mark.parametrize("place", asking_with(HOUR))
def test_cache_writes_of_a_request_for_an_hour_are_for_an_hour_streamed_or_whole(
    call: Driver, server: LoopbackServer, config: Any, only_call: Callable[[], Row], place: str
) -> None:
    usage = TurnUsage(input=1_000_000, output=0, cached=400_000, cache_write=600_000, cache_write_1h=600_000)
    server.script(Turn("Yes.", usage=usage))
    asking_with(HOUR)[place](chat_anthropic(server), call, config)
    assert '"ttl": "1h"' in json.dumps(server.requests[0].body)
    stored_call = only_call()
    assert json.loads(stored_call["params"])["cache_ttl"] == "1h"
    assert counters_of(stored_call) == counters_of_server(server.reported)
    # $1 a million: what was read at a tenth, what was written at twice the price.
    assert Decimal(stored_call["cost_nano_usd"]) / 10**9 == Decimal("1.24")


@pytest.mark.parametrize("place", asking_with(FIVE_MINUTES))
def test_cache_writes_of_any_other_request_are_for_five_minutes(
    call: Driver, server: LoopbackServer, config: Any, only_call: Callable[[], Row], place: str
) -> None:
    server.script(Turn("Yes.", usage=TurnUsage(input=1_000_000, output=0, cache_write=1_000_000)))
    asking_with(FIVE_MINUTES)[place](chat_anthropic(server), call, config)
    stored_call = only_call()
    assert "cache_ttl" not in json.loads(stored_call["params"])
    assert counters_of(stored_call) == counters_of_server(server.reported)
    assert Decimal(stored_call["cost_nano_usd"]) / 10**9 == Decimal("1.25")


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


def test_p6_an_agents_calls_and_tokens_are_those_that_the_server_counted(
    call: Driver, server: LoopbackServer, model: Any, config: Any, stored: Callable[[], Reader]
) -> None:
    server.script(adding(1, 2, usage=USED), adding(3, 4, usage=TurnUsage(1200, 90, cached=1000)), Turn("10"))
    call(create_agent(model, [add], name="agent"), GO, config)
    reader = stored()
    [run] = reader.runs()
    told = server.reported
    assert run["llm_calls"] == server.count == server.answered == 3
    assert (run["steps"], run["tool_calls"]) == (3, 2)
    assert counters_of(*reader.llm_calls(run["id"])) == counters_of_server(told)
    assert (run["input_tokens"], run["cached_tokens"], run["output_tokens"]) == (
        told.input,
        told.cached,
        told.output,
    )
    assert (run["unpriced_calls"], run["estimated_calls"]) == (0, 0)
    assert statuses(reader) == {"success"}


def test_p6_requests_that_the_client_repeats_are_one_call_with_the_tokens_of_the_answer(
    call: Driver, server: LoopbackServer, model: Any, config: Any, stored: Callable[[], Reader]
) -> None:
    busy = [Turn(status=status, headers={"retry-after-ms": "1"}) for status in (429, 500)]
    server.script(*busy, adding(1, 2, usage=USED), *busy, Turn("3", usage=replace(USED, cache_write=0)))
    call(create_agent(model, [add], name="agent"), GO, config)
    reader = stored()
    [run] = reader.runs()
    assert (server.count, server.answered) == (6, 2)
    assert (run["llm_calls"], run["steps"], run["estimated_calls"]) == (2, 2, 0)
    assert counters_of(*reader.llm_calls(run["id"])) == counters_of_server(server.reported)
    assert statuses(reader) == {"success"}


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
