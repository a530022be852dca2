"""Requests that fail: what was paid for is billed, what was not is not, and an attempt is not a run."""

from __future__ import annotations

from typing import Any

import pytest
from openai import RateLimitError
from pydantic import BaseModel

from tests.integrations.conftest import LastRun
from tests.integrations.langchain.agents import GO, add, agent, other_model
from tests.integrations.langchain.driving import Driver
from tests.loopback import LoopbackServer, Turn, TurnUsage
from tests.loopback.clients import chat_openai

QUESTION = "Will it rain?"
FLAT_OUT = Turn(status=429, headers={"retry-after-ms": "1"})
BROKEN = Turn(status=500, headers={"retry-after-ms": "1"})


class Weather(BaseModel):
    """What to answer with."""

    rain: bool


@pytest.mark.parametrize("call", ["invoke", "ainvoke"], indirect=True)
def test_a_reply_that_was_paid_for_but_cannot_be_parsed_is_billed(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(Turn("perhaps"))
    with pytest.raises(ValueError, match="perhaps"):
        call(chat_openai(server).with_structured_output(Weather), QUESTION, config)
    run, [stored_call] = last_run()
    assert (stored_call["status"], stored_call["usage_source"]) == ("failure", "reported")
    assert (stored_call["input_uncached_tokens"], stored_call["output_tokens"]) == (100, 20)
    assert run["cost_nano_usd"] == stored_call["cost_nano_usd"] > 0
    assert run["status"] == "failure"


def test_retries_inside_the_providers_client_are_one_call(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(FLAT_OUT, BROKEN, Turn("Yes."))
    call(chat_openai(server, max_retries=2, stream_usage=True), QUESTION, config)
    run, [stored_call] = last_run()
    assert server.count == 3
    assert (run["status"], stored_call["status"]) == ("success", "success")
    assert run["input_tokens"] == server.reported.input


@pytest.mark.parametrize("call", ["invoke", "ainvoke"], indirect=True)
def test_each_attempt_of_with_retry_is_a_call_and_only_the_answered_one_is_billed(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(FLAT_OUT, FLAT_OUT, Turn("Yes."))
    model = chat_openai(server, max_retries=0).with_retry(
        wait_exponential_jitter=False, stop_after_attempt=3, retry_if_exception_type=(RateLimitError,)
    )
    call(model, QUESTION, config)
    run, calls = last_run()
    assert [row["status"] for row in calls] == ["failure", "failure", "success"]
    for row in calls[:2]:  # LangChain's own class of late, the provider's before
        assert row["error_type"] in ("OpenAIRateLimitError", "RateLimitError")
    assert [row["cost_nano_usd"] for row in calls] == [0, 0, run["cost_nano_usd"]]
    assert run["status"] == "success"


def test_a_fallback_belongs_to_the_run_whose_first_model_failed(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(FLAT_OUT, Turn("Yes.", usage=TurnUsage(50, 10)))
    first = chat_openai(server, max_retries=0)
    call(first.with_fallbacks([other_model(server, "gpt-4o")]), QUESTION, config)
    run, calls = last_run()
    assert [(row["model"], row["status"]) for row in calls] == [
        ("gpt-4o-mini", "failure"),
        ("gpt-4o", "success"),
    ]
    assert (run["status"], run["input_tokens"]) == ("success", 50)


def test_a_providers_error_fails_the_run_says_why_and_is_not_billed(
    call: Driver, server: LoopbackServer, config: Any, last_run: LastRun
) -> None:
    server.script(BROKEN, BROKEN, Turn(status=500, error_message="the model is on fire"))
    with pytest.raises(Exception, match="on fire"):
        call(agent(server, add, max_retries=2), GO, config)
    run, [stored_call] = last_run()
    assert server.count == 3
    assert (run["status"], stored_call["status"]) == ("failure", "failure")
    assert "on fire" in run["error"]
    assert "on fire" in stored_call["error"]
    assert (run["cost_nano_usd"], stored_call["cost_nano_usd"]) == (0, 0)
