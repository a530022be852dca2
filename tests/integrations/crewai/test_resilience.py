"""Faults of ours never reach the crew; switched off, CrewAI is as it was; attached twice, all is recorded once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crewai.events import crewai_event_bus

import tokentrace_crewai
from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import adding, crew, llm
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer
from tokentrace_crewai import TokentraceListener, mapping, place

VERBS = ("open_run", "nest", "leave", "close_run", "open_llm", "close_llm", "open_tool", "close_tool", "fail")
READERS = ("run_facts", "request_of", "reply_of", "arguments_of", "error_of", "name_of", "to_message")


@pytest.mark.parametrize("verb", VERBS)
def test_a_fault_in_the_recorder_does_not_reach_the_crew(
    server: LoopbackServer, tracer: Tracer, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    server.script(adding(1, 2), Turn("three"))
    monkeypatch.setattr(tracer.recorder, verb, fail)
    assert crew(server).kickoff().raw == "three"
    assert server.count == 2
    monkeypatch.undo()
    tracer.recorder.close_all()


@pytest.mark.parametrize("reader", READERS)
def test_a_fault_in_reading_an_event_does_not_reach_the_crew(
    server: LoopbackServer, tracer: Tracer, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("ours")

    server.script(adding(1, 2), Turn("three"))
    monkeypatch.setattr(mapping, reader, fail)
    assert crew(server).kickoff().raw == "three"
    monkeypatch.undo()
    tracer.recorder.close_all()


def test_switched_off_nothing_is_recorded_and_the_bus_is_as_it_was(
    server: LoopbackServer, stored: Stored
) -> None:
    tokentrace_crewai.uninstrument()
    assert "emit" not in vars(crewai_event_bus)
    server.script(Turn("ten"))
    crew(server).kickoff()
    assert list(stored().runs()) == []


def test_switched_on_again_it_records_to_the_new_tracer_only(
    server: LoopbackServer, stored: Stored, tmp_path: Any
) -> None:
    with Tracer(tmp_path / "other.db") as other:
        tokentrace_crewai.instrument(other)
        server.script(Turn("ten"))
        crew(server).kickoff()
        tokentrace_crewai.uninstrument()
    assert list(stored().runs()) == []


def test_switching_on_and_off_again_and_again_leaves_nothing_behind(
    tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(place.Place, "current", lambda self: asked.append(self))
    for _ in range(9):
        tokentrace_crewai.uninstrument()
        tokentrace_crewai.instrument(tracer)
    with tracer.run("morning"):
        assert len(set(asked)) == 1, "places that the recorder asks for where it is"


def test_two_listeners_of_one_tracer_record_once(
    server: LoopbackServer, tracer: Tracer, last_tree: LastTree
) -> None:
    second = TokentraceListener(tracer)
    server.script(adding(1, 2), Turn("three"))
    crew(server).kickoff()
    second.detach()
    assert (
        last_tree()
        == """
run library success: Count the books. -> three
  step Librarian 1 count success
    llm gpt-4o-mini success
    tool add{"a":1,"b":2} success: 3
  step Librarian 2 count success
    llm gpt-4o-mini success
"""
    )


def test_somebody_elses_wrapper_of_the_bus_survives_ours(server: LoopbackServer, stored: Stored) -> None:
    heard: list[str] = []
    ours = crewai_event_bus.emit

    def wrapper(source: Any, event: Any) -> Any:
        heard.append(event.type)
        return ours(source, event)

    vars(crewai_event_bus)["emit"] = wrapper
    try:
        tokentrace_crewai.uninstrument()
        server.script(Turn("ten"))
        llm(server).call("Hi")
    finally:
        del vars(crewai_event_bus)["emit"]
    assert heard == ["llm_call_started", "llm_call_completed"]
    assert list(stored().runs()) == []


def test_a_client_that_crewai_imports_late_does_not_meet_the_price_tables_on_their_way(
    tmp_path: Path,
) -> None:
    program = """
import crewai, tokentrace_crewai, tokentrace_core
tokentrace_crewai.instrument(tokentrace_core.Tracer("traces.db"))
print(crewai.LLM("openai/gpt-4o-mini", api_key="k").provider)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip().endswith("openai"), done.stderr


def test_no_environment_of_crewais_is_changed(tracer: Tracer) -> None:
    before = dict(os.environ)
    tokentrace_crewai.uninstrument()
    tokentrace_crewai.instrument(tracer)
    assert dict(os.environ) == before
