"""Whose run it is: the bill per user and the history of a conversation rest on it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from tests.conformance.stage import Stage
from tests.conformance.work import Work, add, calls
from tests.loopback import Turn, TurnUsage

MANY = 20


class Whose:
    def test_user_and_session_are_the_ones_that_the_framework_was_told(
        self, stage: Stage, style: str
    ) -> None:
        """Else the bill goes to nobody."""
        for question in ("Good morning?", "Good night?"):
            stage.expect(question, Turn("Yes."))
            stage.ask(Work(question, user="ada", session="ticket-4711"), style)
        assert (
            stage.trees()
            == [
                """\
run success user=ada session=ticket-4711 $0.000027 -> Yes.
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
            ]
            * 2
        )

    def test_user_and_session_of_a_session_block_hold_in_every_framework(
        self, stage: Stage, style: str
    ) -> None:
        """Else a program of two frameworks has two ways to say the same."""
        stage.expect("Good morning?", Turn("Yes."))
        with stage.tracer.session("ticket-4711", user="ada"):
            stage.ask(Work("Good morning?"), style)
        assert (
            stage.tree()
            == """\
run success user=ada session=ticket-4711 $0.000027 -> Yes.
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_an_agent_inside_a_run_block_is_a_part_of_that_run(self, stage: Stage, style: str) -> None:
        """Else a request that asks two agents is two requests."""
        stage.expect("Good morning?", Turn("Yes."))
        stage.expect("Good night?", Turn("No."))
        with stage.tracer.run("request", user="ada"):
            answers = [stage.ask(Work(question), style) for question in ("Good morning?", "Good night?")]
        assert answers == ["Yes.", "No."]
        stage.asked, stage.framework = 1, None
        [run] = stage.checked().runs()
        assert (run["name"], run["user_id"], run["llm_calls"], run["steps"]) == ("request", "ada", 2, 2)

    def test_twenty_runs_at_once_keep_their_users_apart(self, stage: Stage, style: str) -> None:
        """Else one customer pays for another."""
        works = [Work(f"What is {n:02}+1?", (add,), user=f"user-{n:02}") for n in range(MANY)]
        for n, work in enumerate(works):
            usage = TurnUsage(100 + n, 20)
            asking = calls(("add", {"a": n, "b": 1}), usage=usage, delay=0.01)
            stage.expect(work.question, asking, Turn(str(n + 1), usage=usage))
        answers = _at_once(stage, works, style)
        assert answers == [str(n + 1) for n in range(MANY)]
        assert sorted(stage.trees()) == sorted(_sum_of(n) for n in range(MANY))


def _at_once(stage: Stage, works: list[Work], style: str) -> list[str]:
    stage.asked += len(works)
    if style == "sync":
        with ThreadPoolExecutor(MANY) as threads:
            asked = [threads.submit(copy_context().run, stage.driver.ask, work) for work in works]
            return [one.result() for one in asked]
    ask = stage.driver.ask_async if style == "async" else stage.read_stream

    async def gather() -> list[str]:
        return await asyncio.gather(*(ask(work) for work in works))

    return stage.run(gather())


def _sum_of(n: int) -> str:
    cost = f"{(100 + n) * 0.15e-6 + 20 * 0.6e-6:.8f}"
    both = f"{2 * float(cost):.8f}".rstrip("0")
    call = f"llm openai/gpt-4o-mini success input={100 + n} output=20 ${cost.rstrip('0')}"
    return f"""\
run success user=user-{n:02} ${both} -> {n + 1}
  step 1 of boss: success
    {call}
    tool add{{"a": {n}, "b": 1}} success -> {n + 1}
  step 2 of boss: success
    {call}
"""
