"""CrewAI's litellm client tells no end of a call that is answered with tool calls: nothing else may suffer from it."""

from __future__ import annotations

from typing import Any

import pytest
from crewai.llms.base_llm import BaseLLM, llm_call_context

from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import agent
from tests.integrations.crewai.test_figures import all_calls
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Budget, BudgetExceeded, Tracer


class Tongueless(BaseLLM):
    """A client that tells when it asks, and not when it is answered."""

    def call(self, messages: Any, *_: Any, **__: Any) -> str:
        with llm_call_context():
            self._emit_call_started_event(messages=[{"role": "user", "content": messages}])
            return "answered"


@pytest.fixture
def client() -> Tongueless:
    return Tongueless(model="gpt-4o-mini")


def test_every_call_is_counted_and_not_taken_for_a_part_of_the_one_before(
    client: Tongueless, tracer: Tracer, stored: Stored
) -> None:
    with tracer.run("morning"):
        for _ in range(3):
            client.call("Hi")
    calls = all_calls(stored)
    assert [call["usage_source"] for call in calls] == ["estimated"] * 3
    assert all(call["cost_nano_usd"] > 0 for call in calls)
    [run] = stored().runs()
    assert (run["steps"], run["llm_calls"], run["status"]) == (3, 3, "success")


@pytest.mark.parametrize("budget", [Budget(steps=2)], ids=["2 steps"])
def test_its_calls_are_stopped_like_all_others(client: Tongueless, tracer: Tracer) -> None:
    with tracer.run("morning"):
        client.call("Hi")
        client.call("Hi")
        with pytest.raises(BudgetExceeded):
            client.call("Hi")


def test_an_agent_that_comes_after_it_is_not_inside_it(
    client: Tongueless, server: LoopbackServer, tracer: Tracer, last_tree: LastTree
) -> None:
    server.script(Turn("ten"))
    with tracer.run("morning"):
        client.call("Hi")
        agent(server).kickoff("How many?")
    assert (
        last_tree()
        == """
run morning success: None -> None
  step morning 1 - success
    llm gpt-4o-mini success estimated
  step Librarian 1 model success
    llm gpt-4o-mini success
"""
    )
