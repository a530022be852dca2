"""What is stored of a call is what the provider reported, counter by counter; what nobody reported is estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import LLM

from tests.integrations.conftest import LastRun
from tests.integrations.llama_index.agents import QUESTION, WIRES, add, answer, model
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tokentrace_core.store.reader import Reader, Row

USAGE = TurnUsage(input=1000, output=200, cached=300, cache_write=120, cache_write_1h=50, reasoning=30)


async def astream(model: LLM, method: str, asked: Any) -> list[Any]:
    return [piece async for piece in await getattr(model, method)(asked)]


STYLES: dict[str, Callable[[Wait, LLM], Any]] = {
    "chat": lambda wait, model: model.chat(QUESTION),
    "achat": lambda wait, model: wait(model.achat(QUESTION)),
    "stream_chat": lambda wait, model: list(model.stream_chat(QUESTION)),
    "astream_chat": lambda wait, model: wait(astream(model, "astream_chat", QUESTION)),
    "complete": lambda wait, model: model.complete("Will it rain?"),
    "acomplete": lambda wait, model: wait(model.acomplete("Will it rain?")),
    "stream_complete": lambda wait, model: list(model.stream_complete("Will it rain?")),
    "astream_complete": lambda wait, model: wait(astream(model, "astream_complete", "Will it rain?")),
}


@pytest.fixture(params=STYLES)
def ask(request: pytest.FixtureRequest, wait: Wait) -> Callable[[LLM], Any]:
    """Asks a model whether it will rain; the test runs once for each of the eight ways."""
    return lambda model: STYLES[request.param](wait, model)


def counted(row: Row) -> dict[str, Any]:
    names = ("input_uncached_tokens", "cache_read_tokens", "output_tokens", "usage_source")
    return {name: row[name] for name in names} | {
        "cache_write_tokens": (row["cache_write_5m_tokens"] or 0) + (row["cache_write_1h_tokens"] or 0)
    }


def reported(usage: TurnUsage) -> dict[str, Any]:
    return {
        "input_uncached_tokens": usage.fresh_input,
        "cache_read_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output,
        "usage_source": "reported",
    }


@pytest.mark.parametrize("wire", WIRES)
def test_each_counter_is_what_the_provider_reported_and_a_call_is_stored_once(
    ask: Callable[[LLM], Any], server: LoopbackServer, last_run: LastRun, wire: str
) -> None:
    server.script(Turn("It will.", usage=USAGE))
    ask(model(server, wire))
    run, [call] = last_run()
    assert server.count == run["llm_calls"] == 1
    assert counted(call) == reported(server.reported)
    assert (call["status"], call["cost_status"], run["name"]) == (
        "success",
        "priced",
        {"chat": "OpenAI", "responses": "OpenAIResponses", "anthropic": "Anthropic"}[wire],
    )
    assert call["model"] == ("claude-haiku-4-5" if wire == "anthropic" else "gpt-4o-mini")
    assert call["provider"] == ("anthropic" if wire == "anthropic" else "openai")
    assert call["stop_reason"] == {"chat": "stop", "responses": "completed", "anthropic": "end_turn"}[wire]
    assert run["output"] == "It will."


@pytest.mark.parametrize("wire", WIRES[:2])
def test_reasoning_is_a_part_of_the_output(
    ask: Callable[[LLM], Any], server: LoopbackServer, last_run: LastRun, wire: str
) -> None:
    server.script(Turn("It will.", usage=USAGE))
    ask(model(server, wire))
    _, [call] = last_run()
    assert (call["reasoning_tokens"], call["output_tokens"]) == (30, 200)


@pytest.mark.parametrize("style", ["stream_chat", "astream_complete"])
def test_a_stream_that_reports_nothing_is_estimated_and_marked(
    wait: Wait, server: LoopbackServer, last_run: LastRun, style: str
) -> None:
    server.script(Turn("It will rain all day."))
    STYLES[style](wait, model(server, additional_kwargs={}))
    run, [call] = last_run()
    assert (call["usage_source"], call["cost_status"], run["estimated_calls"]) == ("estimated", "priced", 1)
    assert call["input_uncached_tokens"] > 0
    assert call["output_tokens"] > 0
    assert call["first_token_ms"] is not None


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("wire", WIRES)
def test_the_sum_of_an_agents_calls_is_what_the_server_reported(
    wait: Wait, server: LoopbackServer, stored: Callable[[], Reader], wire: str, streaming: bool
) -> None:
    both = (ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4}))
    server.script(adding(1, 2, usage=USAGE), Turn(tool_calls=both, usage=USAGE), Turn("ten", usage=USAGE))
    llm: Any = model(server, wire)
    assert wait(answer(FunctionAgent(name="agent", tools=[add], llm=llm, streaming=streaming))) == "ten"
    reader = stored()
    [run] = reader.runs()
    calls, told = reader.llm_calls(run["id"]), server.reported
    assert len(calls) == server.count == run["steps"] == 3
    assert run["tool_calls"] == 3
    assert sum(call["cache_read_tokens"] for call in calls) == told.cached == run["cached_tokens"]
    assert (run["input_tokens"], run["output_tokens"]) == (told.input, told.output)
    assert {call["usage_source"] for call in calls} == {"reported"}


def test_parameters_and_tools_of_a_request_are_kept(
    wait: Wait, server: LoopbackServer, last_run: LastRun
) -> None:
    server.script(Turn("three"))
    llm: Any = model(server, temperature=0.3, max_tokens=50)
    wait(answer(FunctionAgent(name="agent", tools=[add], llm=llm, system_prompt="Be brief.")))
    run, [call] = last_run()
    assert '"temperature":0.3' in call["params"].replace(" ", "")
    assert '"max_tokens":50' in call["params"].replace(" ", "")
    assert run["framework"] == "llama-index"


@pytest.mark.parametrize("wire", WIRES)
def test_a_provider_that_refuses_bills_nothing(
    ask: Callable[[LLM], Any], server: LoopbackServer, last_run: LastRun, wire: str
) -> None:
    server.script(Turn(status=400, error_message="too long"))
    with pytest.raises(Exception, match="too long"):
        ask(model(server, wire))
    run, [call] = last_run()
    assert (run["status"], run["error_type"]) == ("failure", "BadRequestError")
    assert (call["status"], call["cost_nano_usd"], call["cost_status"]) == ("failure", 0, "free")
