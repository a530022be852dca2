"""The agent never notices us, and what is private stays so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.stage import Stage
from tests.conformance.work import Helper, Work, add, calls, divide
from tests.loopback import Turn
from tokentrace_core.recorder import Recorder

VERBS = (
    "open_run",
    "nest",
    "leave",
    "close_run",
    "open_llm",
    "first_token",
    "close_llm",
    "open_tool",
    "close_tool",
    "fail",
)
EVERYTHING = Work("Do it all.", (add, divide), (Helper("adder", (add,)),), user="ada", session="s1")

CANARIES = {
    "prompt": "canary.prompt@example.org",
    "arguments": "canary.arguments@example.org",
    "result": "canary.result@example.org",
    "error": "canary.error@example.org",
    "answer": "canary.answer@example.org",
}
PLACEHOLDER = b"[EMAIL_REDACTED]"


def find_account(owner: str) -> str:
    """Find an account."""
    return f"the account of {owner} is shared with {CANARIES['result']}"


def close_account(owner: str) -> str:
    """Close an account. This one is out of order."""
    raise PermissionError(f"only {CANARIES['error']} may close it")


class Mishap(Exception):
    """A bug of ours."""


class Safety:
    def test_a_fault_of_ours_changes_neither_the_answer_nor_what_is_sent(
        self, stage: Stage, style: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else watching the agent breaks it."""

        def break_down(*args: Any, **kwargs: Any) -> Any:
            raise Mishap

        expected = _outcome(stage, style)
        outcomes = {}
        for verb in VERBS:
            with monkeypatch.context() as broken:
                broken.setattr(Recorder, verb, break_down)
                outcomes[verb] = _outcome(stage, style)
        assert outcomes == dict.fromkeys(VERBS, expected)
        assert stage.faults(), "a fault is logged"
        assert len(stage.faults()) == len(set(stage.faults())), "once, and not once per call"
        stage.read(settled=False)

    def test_a_handler_attached_twice_records_once(self, stage: Stage, style: str) -> None:
        """Else the bill doubles with one more line of configuration."""
        stage.expect("What is 1+2?", calls(("add", {"a": 1, "b": 2})), Turn("three"))
        stage.driver.attach()
        stage.ask(Work("What is 1+2?", (add,)), style)
        assert (
            stage.tree()
            == """\
run success $0.000054 -> three
  step 1 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
    tool add{"a": 1, "b": 2} success -> 3
  step 2 of boss: success
    llm openai/gpt-4o-mini success input=100 output=20 $0.000027
"""
        )

    def test_a_handler_that_is_detached_records_nothing(self, stage: Stage, style: str) -> None:
        """Else there is no way out."""
        stage.expect("Good morning?", Turn("Yes."))
        stage.ask(Work("Good morning?"), style)
        assert len(stage.checked().runs()) == 1
        stage.driver.detach()
        assert stage.ask(Work("Good morning?"), style) == "Yes."
        assert stage.server.count == 2
        assert len(stage.read().runs()) == 1

    def test_nothing_private_is_in_the_bytes_of_the_trace_file(self, stage: Stage, style: str) -> None:
        """Else the record of the agent is a leak of its own."""
        owner = {"owner": CANARIES["arguments"]}
        stage.expect(
            "Whose is it?",
            calls(("find_account", owner), ("close_account", owner)),
            Turn(f"Ask {CANARIES['answer']}."),
        )
        asked = Work(f"Whose is it? Tell {CANARIES['prompt']}.", (find_account, close_account))
        stage.ask(asked, style)
        sent = str([request.body for request in stage.server.requests])
        stage.checked()
        written = [stage.tracer.path, stage.tracer.path.with_name(f"{stage.tracer.path.name}-wal")]
        files = b"".join(path.read_bytes() for path in written)
        leaked = [place for place, canary in CANARIES.items() if canary.encode() in files]
        unsaid = [place for place, canary in CANARIES.items() if place != "answer" and canary not in sent]
        assert (leaked, unsaid) == ([], [])
        assert files.count(PLACEHOLDER) >= len(CANARIES)


def _outcome(stage: Stage, style: str) -> tuple[str, list[Any]]:
    """What a user gets and a provider is sent, for an agent that does a bit of everything."""
    stage.server.reset()
    stage.server.answer_with(stage.model)
    stage.expect(
        "Do it all.",
        calls(("add", {"a": 1, "b": 2})),
        calls(("divide", {"a": 1, "b": 2})),
        calls(("ask_adder", {"question": "1 and 2?"})),
        Turn("all done"),
    )
    stage.expect("1 and 2?", calls(("add", {"a": 1, "b": 2})), Turn("three"))
    answer = stage.ask(EVERYTHING, style)
    return answer, [request.body["messages"] for request in stage.server.requests]
