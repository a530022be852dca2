"""What fails is told once and truly, and leaves the next run clean."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import anthropic
import openai
import pytest

from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import adding, agent, crew, llm
from tests.integrations.trees import tree
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer


@pytest.mark.parametrize("wire", ["chat", "responses", "anthropic"])
def test_a_call_that_fails_is_one_failed_call_that_cost_nothing(
    server: LoopbackServer, stored: Stored, wire: str
) -> None:
    server.script(Turn(status=400))
    with pytest.raises((openai.BadRequestError, anthropic.BadRequestError)):
        llm(server, wire).call("Hi")
    reader = stored()
    [run] = reader.runs()
    [call] = reader.llm_calls(run["id"])
    assert (call["status"], call["error_type"], call["cost_nano_usd"]) == ("failure", "BadRequestError", 0)
    assert (run["status"], run["error_type"]) == ("failure", "BadRequestError")


def test_requests_that_the_client_repeats_are_one_call(server: LoopbackServer, stored: Stored) -> None:
    quick = {"retry-after-ms": "1"}
    server.script(Turn(status=429, headers=quick), Turn(status=500, headers=quick), Turn("ten"))
    crew(server).kickoff()
    [run] = stored().runs()
    assert (server.count, run["llm_calls"], run["status"]) == (3, 1, "success")


def test_a_failed_kickoff_is_a_failed_run_and_the_next_one_is_a_clean_run(
    server: LoopbackServer, stored: Stored
) -> None:
    library = crew(server, max_retry_limit=0)
    server.script(Turn(status=400), adding(1, 2), Turn("three"))
    with pytest.raises(openai.BadRequestError):
        library.kickoff()
    library.kickoff()
    reader = stored()
    after, before = sorted(reader.runs(), key=lambda run: -run["started_at"])
    assert tree(reader, before["id"]).startswith(
        "run library failure (BadRequestError): Count the books. -> None"
    )
    assert (
        tree(reader, after["id"])
        == """\
run library success: Count the books. -> three
  step Librarian 1 count success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step Librarian 2 count success
    llm gpt-4o-mini success
"""
    )


def test_agents_that_are_asked_again_after_a_failure_stay_in_their_run(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    server.script(Turn(status=400), Turn("ten"))
    crew(server, max_retry_limit=1).kickoff()
    assert (
        last_tree()
        == """
run library success: Count the books. -> ten
  step Librarian 1 count failure
    llm gpt-4o-mini failure (BadRequestError) missing
  step Librarian 1 count success
    llm gpt-4o-mini success
"""
    )


def test_a_crew_that_is_called_off_is_cancelled(server: LoopbackServer, stored: Stored) -> None:
    server.script(Turn("late", delay=1))

    async def give_up() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(crew(server).akickoff(), 0.3)

    asyncio.run(give_up())
    reader = stored()
    [run] = reader.runs()
    [call] = reader.llm_calls(run["id"])
    assert (run["status"], call["status"], call["usage_source"]) == ("cancelled", "cancelled", "estimated")


def test_an_agent_that_fails_inside_a_block_leaves_the_block_usable(
    server: LoopbackServer, tracer: Tracer, stored: Stored
) -> None:
    server.script(Turn(status=400), Turn("ten"))
    with tracer.run("morning"):
        with suppress(openai.BadRequestError):
            agent(server, max_retry_limit=0).kickoff("How many?")
        agent(server).kickoff("How many?")
    [run] = stored().runs()
    assert (run["name"], run["status"], run["llm_calls"]) == ("morning", "success", 2)
