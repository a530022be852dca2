"""Retry storms and loops: calls that should not have been made at all, and those that look alike and are fine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.analysis.audit.conftest import Agent, only, user
from tokentrace_core import Tracer, Usage
from tokentrace_core.analysis.audit import Audit

Audited = Callable[..., Audit]
ORDER = {"id": 4711}


def storm(agent: Agent, attempts: int, *, succeeds: bool = False) -> None:
    """A tool is tried so often, and the model asked with the same prompt before each attempt."""
    with agent.tracer.run("support"):
        for attempt in range(1, attempts + 1):
            agent.ask([user("Where is my order?")], "", prompt=1_000, output=50)
            last = attempt == attempts and succeeds
            agent.use("lookup", ORDER, error=None if last else "429 Too Many Requests")


@pytest.mark.parametrize("succeeds", [False, True], ids=["given up", "succeeded at last"])
def test_a_storm_costs_all_attempts_beyond_the_third(agent: Agent, audited: Audited, succeeds: bool) -> None:
    storm(agent, 8, succeeds=succeeds)
    finding = only(audited())
    assert finding.kind == "retry_storm"
    assert finding.times == 1
    assert len(finding.calls) == 5
    assert finding.wasted_tokens == 5 * 1_050
    assert finding.wasted_nano_usd == 5 * (1_000 * 1_000 + 50 * 10_000)
    assert "lookup" in finding.title


def test_two_retries_are_the_policy_and_no_storm(agent: Agent, audited: Audited) -> None:
    storm(agent, 3, succeeds=True)
    storm(agent, 3, succeeds=False)
    assert audited().findings == ()


def test_retries_of_different_arguments_are_work(agent: Agent, audited: Audited) -> None:
    with agent.tracer.run("support"):
        for page in range(8):
            agent.ask([user(f"page {page}")], "", prompt=1_000)
            agent.use("lookup", {"page": page}, error="not found")
    assert audited().findings == ()


def test_failures_in_different_turns_are_not_one_storm(agent: Agent, audited: Audited) -> None:
    for _ in range(4):
        storm(agent, 2)
    assert audited().findings == ()


def test_a_success_ends_a_series(agent: Agent, audited: Audited) -> None:
    with agent.tracer.run("support"):
        for round_ in range(9):
            agent.ask([user(f"round {round_}")], "", prompt=1_000)
            agent.use("lookup", ORDER, f"found {round_}", error="429" if round_ % 3 else None)
    assert audited().findings == ()


def test_a_model_call_that_asked_for_more_than_the_retry_is_not_wasted(
    agent: Agent, audited: Audited
) -> None:
    with agent.tracer.run("support"):
        for attempt in range(5):
            agent.ask([user("Where is my order?")], "", prompt=1_000)
            agent.use("lookup", ORDER, error="429")
            agent.use("other", {"attempt": attempt}, "useful")
    assert audited().wasted_nano_usd == 0


def test_a_prompt_resent_after_failed_calls_is_a_storm_even_if_refusals_cost_nothing(
    agent: Agent, tracer: Tracer, audited: Audited
) -> None:
    with tracer.run("support"):
        for _ in range(6):
            with pytest.raises(ConnectionError), tracer.llm("claude-x", messages=[user("hello")]):
                raise ConnectionError("429")
    finding = only(audited())
    assert finding.kind == "retry_storm"
    assert len(finding.calls) == 3
    assert finding.wasted_nano_usd == 0


def test_a_resent_prompt_that_was_billed_is_wasted_at_what_it_cost(
    agent: Agent, tracer: Tracer, audited: Audited
) -> None:
    with tracer.run("support"):
        for _ in range(5):
            with suppress(TimeoutError), tracer.llm("claude-x", messages=[user("hello")]) as call:
                call.done("half an answ", usage=Usage(input_uncached_tokens=500, output_tokens=10))
                raise TimeoutError
    assert only(audited()).wasted_nano_usd == 2 * (500 * 1_000 + 10 * 10_000)


# ── loops ────────────────────────────────────────────────────────────────────────────────────────────────


def loop(agent: Agent, times: int, result: Callable[[int], str] = lambda _: "nothing new") -> None:
    with agent.tracer.run("support"):
        for time in range(times):
            agent.ask([user(f"thought {time}")], "", prompt=1_000, output=10)
            agent.use("search", {"q": "refund"}, result(time))
        agent.ask([user("done")], "I found nothing.", prompt=1_000, output=10)


def test_a_loop_costs_the_third_call_and_all_after_it(agent: Agent, audited: Audited) -> None:
    loop(agent, 6)
    finding = only(audited())
    assert finding.kind == "loop"
    assert len(finding.calls) == 4
    assert finding.wasted_nano_usd == 4 * (1_000 * 1_000 + 10 * 10_000)


def test_the_same_tool_twice_is_no_loop(agent: Agent, audited: Audited) -> None:
    loop(agent, 2)
    assert audited().findings == ()


def test_polling_until_something_changes_is_no_loop(agent: Agent, audited: Audited) -> None:
    loop(agent, 6, lambda time: f"{10 * time} % done")
    assert audited().findings == ()


def test_a_storm_within_a_loop_is_not_paid_twice(agent: Agent, audited: Audited) -> None:
    with agent.tracer.run("support"):
        for error in (None, None, None, None, *["429"] * 6):
            agent.ask([user("hello")], "", prompt=1_000, output=0)
            agent.use("search", {"q": "refund"}, "nothing", error=error)
    found = audited()
    assert {finding.kind for finding in found.findings} == {"retry_storm", "loop"}
    assert found.wasted_nano_usd == (3 + 2) * 1_000_000
    assert found.wasted_tokens == (3 + 2) * 1_000
