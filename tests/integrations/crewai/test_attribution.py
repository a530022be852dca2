"""Whose run it is: from the inputs, from the block round it, or a flow's own id; never mixed."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from crewai.flow.flow import Flow, start

from tests.integrations.crewai.conftest import Stored
from tests.integrations.crewai.crews import adding, agent, crew, llm
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer


def test_inputs_say_whose_run_it_is(server: LoopbackServer, only_run: Any) -> None:
    server.script(Turn("ten"))
    crew(server).kickoff(inputs={"session_id": "s1", "user_id": "ada", "shelf": "top"})
    run = only_run()
    assert (run["session_id"], run["user_id"], run["framework"]) == ("s1", "ada", "crewai")
    assert run["input"] == '{"shelf":"top"}'


def test_a_session_block_says_it_too(server: LoopbackServer, tracer: Tracer, only_run: Any) -> None:
    server.script(Turn("ten"))
    with tracer.session("s1", user="ada"):
        crew(server).kickoff()
    run = only_run()
    assert (run["session_id"], run["user_id"]) == ("s1", "ada")


def test_a_flow_is_its_own_session(server: LoopbackServer, only_run: Any) -> None:
    class Morning(Flow[Any]):
        @start()
        def open_up(self) -> Any:
            return llm(server).call("Hi")

    server.script(Turn("hello"))
    flow = Morning()
    flow.kickoff(inputs={"id": "flow-7"})
    assert only_run()["session_id"] == flow.flow_id == "flow-7"


def test_every_kickoff_of_many_is_a_run_in_the_session_round_them(
    server: LoopbackServer, tracer: Tracer, stored: Stored
) -> None:
    server.script_loop(Turn("ten"))
    inputs = [{"n": str(n)} for n in range(3)]
    with tracer.session("s1", user="ada"):
        crew(server).kickoff_for_each(inputs)
        asyncio.run(crew(server).kickoff_for_each_async(inputs))
    runs = list(stored().runs())
    assert len(runs) == server.count == 6
    assert {(run["session_id"], run["user_id"], run["llm_calls"]) for run in runs} == {("s1", "ada", 1)}


def answer(body: dict[str, Any]) -> Turn:
    """Each asks for a sum first, then says which user it was asked for."""
    text = str(body["messages"])
    user = text.split("user-")[1].split(".")[0]
    return adding(1, int(user), delay=0.02) if "'tool'" not in text else Turn(f"for user-{user}.")


@pytest.mark.parametrize("style", ["threads", "kickoff_async", "akickoff", "agents"])
def test_twenty_at_once_are_never_mixed(
    server: LoopbackServer, tracer: Tracer, stored: Stored, style: str
) -> None:
    server.answer_with(answer)

    def make(user: str) -> Any:
        made = crew(server)
        made.tasks[0].description = f"Count for {user}."
        return made

    def in_session(user: str) -> None:
        with tracer.session(f"of {user}", user=user):
            make(user).kickoff()

    async def ask(user: str) -> None:
        with tracer.session(f"of {user}", user=user):
            if style == "agents":
                await agent(server).kickoff_async(f"Count for {user}.")
            else:
                await getattr(make(user), style)()

    async def ask_all(users: list[str]) -> None:
        await asyncio.gather(*(ask(user) for user in users))

    users = [f"user-{n}" for n in range(20)]
    if style == "threads":
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda user: contextvars.Context().run(in_session, user), users))
    else:
        asyncio.run(ask_all(users))
    reader = stored()
    runs = list(reader.runs())
    assert sorted(run["user_id"] for run in runs) == sorted(users)
    for run in runs:
        assert run["session_id"] == f"of {run['user_id']}"
        assert run["output"] == f"for {run['user_id']}."
        assert (run["llm_calls"], run["tool_calls"], run["steps"]) == (2, 1, 2)
        [tool] = reader.tool_calls(run["id"])
        assert tool["arguments"] == f'{{"a":1,"b":{run["user_id"][5:]}}}'
    assert server.count == 40
