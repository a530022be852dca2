"""A flow that asks a human waits, and the answer, whenever it comes, continues the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from crewai.flow.async_feedback.types import HumanFeedbackPending
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.flow.persistence import SQLiteFlowPersistence

import tokentrace_crewai
from tests.integrations.crewai.conftest import LastTree
from tests.integrations.crewai.crews import llm
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Budget, BudgetExceeded, Tracer

DRAFTED = """
run Mail {}: {} -> {}
  step Mail 1 draft success
    llm gpt-4o-mini success
"""
SENT = """\
  step Mail 2 send success
    llm gpt-4o-mini success
"""


class Later:
    """Whom CrewAI asks for feedback: somebody who is not there."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        raise HumanFeedbackPending(context=context)


@pytest.fixture
def mail(server: LoopbackServer, tmp_path: Path) -> Any:
    """A flow that drafts, asks a human and sends; made anew each time, as after a restart."""
    server.script(Turn("Dear all"), Turn("sent"))
    persistence = SQLiteFlowPersistence(str(tmp_path / "flows.db"))

    class Mail(Flow[Any]):
        @start()
        @human_feedback(message="Shall I?", provider=Later())
        def draft(self) -> Any:
            return llm(server).call("Draft it.")

        @listen(draft)
        def send(self, answer: Any) -> Any:
            return llm(server).call("Send it.")

        @classmethod
        def begin(cls, **inputs: str) -> str:
            flow = cls(persistence=persistence)
            flow.kickoff(inputs=inputs or None)
            return flow.flow_id

        @classmethod
        def answer(cls, flow_id: str) -> Any:
            return cls.from_pending(flow_id, persistence).resume("yes")

    return Mail


def test_a_flow_that_waits_for_a_human_is_one_run_with_its_answer(
    mail: Any, last_tree: LastTree, only_run: Any
) -> None:
    flow_id = mail.begin()
    assert last_tree() == DRAFTED.format("waiting", None, None)
    assert json.loads(only_run()["attributes"])["waiting_for"] == "Shall I?"
    assert mail.answer(flow_id) == "sent"
    assert last_tree() == DRAFTED.format("success", None, "sent") + SENT
    run = only_run()
    assert (run["session_id"], run["llm_calls"], run["error_type"]) == (flow_id, 2, None)


def test_whose_run_it_is_is_still_known_when_the_answer_comes(mail: Any, only_run: Any) -> None:
    mail.answer(mail.begin(user_id="ada", session_id="s1"))
    run = only_run()
    assert (run["session_id"], run["user_id"], run["status"]) == ("s1", "ada", "success")


def test_another_process_can_answer(mail: Any, db: Path, only_run: Any) -> None:
    flow_id = mail.begin()
    assert only_run()["status"] == "waiting"
    with Tracer(db) as another:
        tokentrace_crewai.instrument(another)
        mail.answer(flow_id)
        assert another.flush(10)
    assert (only_run()["status"], only_run()["llm_calls"]) == ("success", 2)


@pytest.mark.parametrize("budget", [Budget(steps=1)], ids=["1 step"])
def test_an_answer_does_not_fill_the_budget_again(mail: Any, server: LoopbackServer) -> None:
    flow_id = mail.begin()
    with pytest.raises(BudgetExceeded):
        mail.answer(flow_id)
    assert server.count == 1
