"""Every counter that the provider told is stored, once, and every request is a call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from crewai import Crew

from tests.integrations.crewai.conftest import Stored
from tests.integrations.crewai.crews import WIRES, adding, agent, crew, llm, task
from tests.loopback import LoopbackServer, Turn, TurnUsage
from tokentrace_core.store.reader import Row

SPENT = TurnUsage(input=1000, output=200, cached=300, reasoning=50)


def stored_usage(calls: list[Row]) -> TurnUsage:
    """The stored counters, summed, in the server's words."""

    def total(column: str) -> int:
        return sum(call[column] or 0 for call in calls)

    cached, written = total("cache_read_tokens"), total("cache_write_5m_tokens")
    return TurnUsage(
        input=total("input_uncached_tokens") + cached + written,
        output=total("output_tokens"),
        cached=cached,
        cache_write=written,
        reasoning=total("reasoning_tokens"),
    )


def all_calls(stored: Stored) -> list[Row]:
    reader = stored()
    return [call for run in reader.runs() for call in reader.llm_calls(run["id"])]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_stored_counters_are_those_that_the_provider_told(
    server: LoopbackServer, stored: Stored, wire: str, stream: bool, asynchronous: bool
) -> None:
    spent = TurnUsage(1000, 200, cached=300, cache_write=100) if wire == "anthropic" else SPENT
    server.script(adding(1, 2, usage=spent), Turn("three", usage=spent))
    model = llm(server, wire, stream=stream)
    if asynchronous:
        asyncio.run(crew(server, llm=model).akickoff())
    else:
        crew(server, llm=model).kickoff()
    calls = all_calls(stored)
    assert len(calls) == server.count == 2
    assert stored_usage(calls) == server.reported
    assert {call["usage_source"] for call in calls} == {"reported"}
    assert {call["provider"] for call in calls} == {"anthropic" if wire == "anthropic" else "openai"}
    assert all(call["cost_status"] == "priced" and call["response_id"] for call in calls)


@pytest.mark.parametrize("wire", ["chat", "anthropic"])
def test_a_stream_has_a_time_to_its_first_token(server: LoopbackServer, stored: Stored, wire: str) -> None:
    server.script(Turn("a few words more", chunk_delay=0.01))
    llm(server, wire, stream=True).call("Hi")
    [call] = all_calls(stored)
    assert call["first_token_ms"] > 0


def test_usage_that_the_provider_kept_to_itself_is_estimated(server: LoopbackServer, stored: Stored) -> None:
    server.script(Turn("ten", report_usage=False))
    crew(server).kickoff()
    [call] = all_calls(stored)
    assert call["usage_source"] == "estimated"
    assert call["input_uncached_tokens"] > 10
    assert call["cost_nano_usd"] > 0


def test_two_agents_sharing_a_model_over_two_kickoffs_add_up_in_each_run(
    server: LoopbackServer, stored: Stored
) -> None:
    shared = llm(server)
    one, two = agent(server, "One", llm=shared), agent(server, "Two", llm=shared)
    both = Crew(agents=[one, two], tasks=[task(one, "first"), task(two, "second")], name="both")
    server.script(*(Turn("x", usage=TurnUsage(100 * n, n)) for n in (1, 2, 3, 4)))
    both.kickoff()
    both.kickoff()
    totals = sorted((run["input_tokens"], run["output_tokens"], run["llm_calls"]) for run in stored().runs())
    assert totals == [(300, 3, 2), (700, 7, 2)]


def test_request_parameters_prompt_and_answer_are_kept(server: LoopbackServer, stored: Stored) -> None:
    server.script(adding(1, 2), Turn("three"))
    crew(server, llm=llm(server, temperature=0.3, max_tokens=77, seed=5)).kickoff()
    reader = stored()
    [run] = reader.runs()
    asked, answered = reader.llm_calls(run["id"])
    params: Any = asked["params"]
    assert '"temperature":0.3' in params
    assert '"max_tokens":77' in params
    assert '"seed":5' in params
    assert (asked["stop_reason"], answered["stop_reason"]) == ("tool_calls", "stop")
    [tool] = reader.tool_calls(run["id"])
    assert tool["tool_call_id"] == "call_1_0"
    assert reader.message(asked["output_id"])["tool_calls"] == [
        {"id": "call_1_0", "name": "add", "arguments": {"a": 1, "b": 2}}
    ]
    assert reader.message(answered["output_id"]) == {"role": "assistant", "content": "three"}
    prompt = [message["body"] for message in reader.messages(answered["prompt_id"])]
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "tool"]
    assert prompt[2]["tool_calls"] == reader.message(asked["output_id"])["tool_calls"]
    assert prompt[3]["content"] == "3"
    assert set(prompt[0]) == {"role", "content"}, "what CrewAI adds for itself is not sent"
