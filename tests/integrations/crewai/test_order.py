"""The tree depends neither on the order in which events are told nor on how slow others are to hear them."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.events import crewai_event_bus
from crewai.events.base_events import BaseEvent

from tests.integrations.crewai.conftest import LastTree
from tests.integrations.crewai.crews import adding, agent, crew, llm, task
from tests.integrations.trees import tree
from tests.loopback import LoopbackServer, ToolCall, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_crewai import TokentraceListener, gate

Recorded = list[tuple[Any, Any]]


@pytest.fixture
def recorded(server: LoopbackServer) -> Recorded:
    """What a crew of two asynchronous agents and one that delegates has emitted."""
    work = {"task": "sum up", "context": "none", "coworker": "Librarian"}
    two = Turn(tool_calls=(ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})))
    server.script(
        Turn(tool_calls=(ToolCall("delegate_work_to_coworker", work),)),
        two,
        Turn(tool_calls=(ToolCall("boom", {"a": 1}),)),
        Turn("seven"),
        Turn("done"),
    )
    events: Recorded = []

    def hear(source: Any, event: Any) -> None:
        events.append((source, event))

    gate.listen(hear)
    Crew(
        agents=[agent(server)],
        tasks=[task()],
        process=Process.hierarchical,
        manager_llm=llm(server),
        name="library",
    ).kickoff()
    gate.stop_listening(hear)
    return events


def test_a_thousand_shuffles_give_the_same_tree(
    recorded: Recorded, last_tree: LastTree, tmp_path: Path
) -> None:
    expected = last_tree()
    dice = random.Random(7)
    with Tracer(tmp_path / "shuffled.db") as other:
        listener = TokentraceListener(other)
        listener.detach()
        for _ in range(1_000):
            dice.shuffle(recorded)
            listener.replay(recorded)
        assert other.recorder.open_parts == 0
        assert other.flush(30)
        with Reader(other.path) as reader:
            runs = list(reader.runs(limit=2_000))
            assert len(runs) == 1_000
            assert {"\n" + tree(reader, run["id"]) for run in runs} == {expected}


def test_slow_handlers_of_others_change_nothing_and_nobody_waits_for_them(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    dice = random.Random(7)

    def dawdle(source: Any, event: Any) -> None:
        time.sleep(dice.random() * 0.05)

    kinds = [kind for kind in _all_kinds(BaseEvent) if kind.__module__.startswith("crewai.")]
    with crewai_event_bus.scoped_handlers():
        for kind in kinds:
            crewai_event_bus.on(kind)(dawdle)
        server.script(*(adding(n, n) for n in range(4)), Turn("ten"))
        crew(server).kickoff()
        text = last_tree()
        crewai_event_bus.flush(10)
    steps = [f"  step Librarian {n} count success" for n in (1, 2, 3, 4, 5)]
    assert [line for line in text.splitlines() if "step" in line] == steps
    assert text.startswith("\nrun library success")


def _all_kinds(kind: type[Any]) -> list[type[Any]]:
    return [kind, *(below for one in kind.__subclasses__() for below in _all_kinds(one))]
