"""Whatever breaks in tokentrace, the agent's answer is the same to the byte, and the log says so once."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest
from openai import BadRequestError

from tests.integrations.llama_index.agents import QUESTION, add, agent, answer, library, model
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Budget, BudgetExceeded, Tracer, shield
from tokentrace_core.recorder import Recorder
from tokentrace_core.store.reader import Reader
from tokentrace_llama_index import handler, mapping, streams
from tokentrace_llama_index.gate import Gate
from tokentrace_llama_index.span import Span

MAPPING = [
    name
    for name, function in inspect.getmembers(mapping, inspect.isfunction)
    if function.__module__ == mapping.__name__ and not name.startswith("_")
]
VERBS = (
    "open_run",
    "nest",
    "leave",
    "close_run",
    "open_llm",
    "first_token",
    "close_llm",
    "fail",
    "open_tool",
    "close_tool",
    "loop_of",
)


class Mishap(Exception):
    """A bug of ours."""


def broken(*args: Any, **kwargs: Any) -> Any:
    raise Mishap


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log says once, it says once in each test."""
    monkeypatch.setattr(shield, "_logged", set())


@pytest.fixture
def outcome(wait: Wait, server: LoopbackServer) -> Callable[[], list[Any]]:
    """What a program with a bit of everything gives and asks."""

    def run() -> list[Any]:
        server.reset()
        server.script(
            adding(1, 2),
            Turn("It is three."),
            Turn("Once upon a time."),
            Turn("It will."),
            Turn("It may."),
            Turn(status=400),
        )
        given: list[Any] = [wait(answer(agent(server, add)))]
        given += ["".join(piece.delta or "" for piece in model(server).stream_chat(QUESTION))]
        given += [str(library().as_query_engine(llm=model(server)).query("rain?"))]
        given += [str(library().as_query_engine(llm=model(server), streaming=True).query("rain?"))]
        with pytest.raises(BadRequestError) as refused:
            model(server).complete("Too much?")
        return [*given, str(refused.value), [request.body for request in server.requests]]

    return run


def assert_unaffected(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: Any,
    name: str,
    breaking: Any = broken,
) -> None:
    expected = outcome()
    monkeypatch.setattr(place, name, breaking)
    for _ in range(2):
        assert outcome() == expected
    said = [record.getMessage() for record in caplog.records if record.name == "tokentrace"]
    assert said
    assert len(said) == len(set(said))


@pytest.mark.parametrize("name", MAPPING)
def test_a_mapping_that_raises_costs_the_record_and_not_the_agent(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    assert_unaffected(outcome, monkeypatch, caplog, mapping, name)


@pytest.mark.parametrize("name", VERBS)
def test_a_recorder_that_raises_costs_the_record_and_not_the_agent(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    assert_unaffected(outcome, monkeypatch, caplog, Recorder, name)


@pytest.mark.parametrize("name", ["method", "kind", "is_request", "name", "in_loop", "agent", "step_name"])
def test_a_span_that_cannot_be_read_costs_the_record_and_not_the_agent(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    assert_unaffected(outcome, monkeypatch, caplog, Span, name, property(broken))


@pytest.mark.parametrize("name", ["stand_before"])
def test_a_gate_that_raises_costs_the_record_and_not_the_agent(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    assert_unaffected(outcome, monkeypatch, caplog, Gate, name)


@pytest.mark.parametrize("name", ["writes_answer", "follow"])
def test_a_stream_that_cannot_be_followed_costs_the_record_and_not_the_agent(
    outcome: Callable[[], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    assert_unaffected(outcome, monkeypatch, caplog, streams, name)


def test_the_log_says_what_the_framework_would_swallow(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handler, "Span", broken)
    server.script(Turn("It will."))
    with caplog.at_level(logging.ERROR, "tokentrace"):
        model(server).chat(QUESTION)
    assert any("new_span failed" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("budget", [Budget(run_usd=0)])
def test_the_stop_itself_is_no_accident(server: LoopbackServer, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BudgetExceeded):
        model(server).chat(QUESTION)
    assert not [record for record in caplog.records if record.name == "tokentrace"]


@pytest.mark.usefixtures("nothing_collected")
def test_p15_hundreds_of_runs_some_of_them_abandoned_leave_nothing_behind(
    server: LoopbackServer, tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    server.answer_with(lambda body: Turn("one two"))
    llm = model(server)
    for number in range(100):
        stream = llm.stream_chat(QUESTION)
        if number % 10:
            list(stream)
        else:
            next(stream)
            stream.close()  # type: ignore[attr-defined]
    assert tracer.recorder.open_parts == 0
    assert not tracer.recorder._early_ends
    [row] = stored().query("select count(*) as runs, sum(status = 'cancelled') as abandoned from runs")
    assert row == {"runs": 100, "abandoned": 10}
