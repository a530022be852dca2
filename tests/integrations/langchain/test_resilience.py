"""Whatever breaks in tokentrace, the agent's answer is the same to the byte, and the log says so once."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Interrupt, interrupt
from openai import BadRequestError

import tokentrace_langchain
from tests.integrations.langchain.agents import GO, Chat, Library, add, agent
from tests.integrations.langchain.driving import Driver
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import chat_openai
from tokentrace_core import PriceBook, Redactor, Tracer, shield, signals
from tokentrace_core.recorder import Recorder
from tokentrace_core.redaction_rules import Rule
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler, mapping

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
    "wait",
)


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the log says once, it says once in each test."""
    monkeypatch.setattr(shield, "_logged", set())


two_styles = pytest.mark.parametrize("call", ["invoke", "astream"], indirect=True)


class Mishap(Exception):
    """A bug of ours."""


def broken(*args: Any, **kwargs: Any) -> Any:
    raise Mishap


@pytest.fixture
def outcome(server: LoopbackServer, call: Driver) -> Callable[..., list[Any]]:
    """What a program with a bit of everything gives and asks, without the ids that LangChain makes."""

    def ask_a_human(state: Chat) -> dict[str, Any]:
        return {"messages": [("user", interrupt("well?"))]}

    graph = StateGraph(Chat)
    graph.add_node("human", ask_a_human)
    graph.add_edge(START, "human")

    def run(config: dict[str, Any] | None = None) -> list[Any]:
        server.reset()
        config = {"tags": ["prod"], **(config or {})}
        server.script(adding(1, 2), Turn("It is three."), Turn("Once upon a time."), Turn(status=400))
        waiting = graph.compile(checkpointer=InMemorySaver())
        given = [call(agent(server, add), GO, config)]
        given += [list(chat_openai(server, stream_usage=True).stream("Tell a story.", config))]
        given += [call(Library(), "weather", config)]
        given += [call(waiting, GO, {**config, "configurable": {"thread_id": "t"}})]
        with pytest.raises(BadRequestError) as refused:
            call(chat_openai(server), "Too much?", config)
        return [*map(_without_ids, given), str(refused.value), [request.body for request in server.requests]]

    return run


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_ids(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_ids(item) for item in value]
    dump = getattr(value, "model_dump", None)
    if dump:
        return {name: item for name, item in dump().items() if name != "id"}
    return value.value if isinstance(value, Interrupt) else value


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def assert_unaffected(
    outcome: Callable[..., list[Any]], config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    expected = outcome()
    for _ in range(2):
        assert outcome(config) == expected
    said = faults(caplog)
    assert said
    assert len(said) == len(set(said))


@two_styles
@pytest.mark.parametrize("name", MAPPING)
def test_a_mapping_that_raises_costs_the_record_and_not_the_agent(
    outcome: Callable[..., list[Any]],
    config: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    monkeypatch.setattr(mapping, name, broken)
    assert_unaffected(outcome, config, caplog)


@two_styles
@pytest.mark.parametrize("name", VERBS)
def test_a_recorder_that_raises_costs_the_record_and_not_the_agent(
    outcome: Callable[..., list[Any]],
    config: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    monkeypatch.setattr(Recorder, name, broken)
    assert_unaffected(outcome, config, caplog)


def test_a_price_list_that_raises_costs_the_price_and_not_the_record(
    outcome: Callable[..., list[Any]],
    config: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stored: Callable[[], Reader],
) -> None:
    monkeypatch.setattr(PriceBook, "price", broken)
    assert_unaffected(outcome, config, caplog)
    run = next(run for run in stored().runs() if run["name"] == "agent")
    assert (run["status"], run["llm_calls"], run["unpriced_calls"], run["cost_nano_usd"]) == (
        "success",
        2,
        2,
        0,
    )


def test_a_receiver_that_raises_costs_neither_the_agent_nor_the_record(
    outcome: Callable[..., list[Any]],
    tracer: Tracer,
    config: Any,
    caplog: pytest.LogCaptureFixture,
    stored: Callable[[], Reader],
) -> None:
    expected = outcome()
    with signals.llm_call_ended.connected_to(broken, sender=tracer.recorder):
        assert outcome(config) == expected
    assert any("llm-call-ended" in said for said in faults(caplog))
    assert [run["status"] for run in stored().runs() if run["name"] == "agent"] == ["success"]


def test_a_redaction_rule_that_raises_stores_no_text_at_all(
    outcome: Callable[..., list[Any]], tmp_path: Path
) -> None:
    rule = Rule("broken", "[X]", re.compile("."), accept=broken)
    expected, path = outcome(), tmp_path / "unredacted" / "traces.db"
    with Tracer(path, redactor=Redactor([rule])) as tracer:
        assert outcome({"callbacks": [TokentraceHandler(tracer)]}) == expected
        assert tracer.flush(10)
        files = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"[REDACTION_FAILED" in files
    for text in (b"three", b"Once upon a time", b"weather"):
        assert text not in files


@pytest.fixture
def _switched_off_after() -> Iterator[None]:
    yield
    tokentrace_langchain.uninstrument()


@pytest.mark.usefixtures("_switched_off_after")
def test_switched_off_nothing_is_recorded_and_on_again_everything(
    outcome: Callable[..., list[Any]], tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    expected = outcome()
    for counted in (1, 2):
        tokentrace_langchain.instrument(tracer)
        assert outcome() == expected
        tokentrace_langchain.uninstrument()
        assert outcome() == expected
        assert len(stored().runs()) == 5 * counted
    assert tracer.recorder.open_parts == 0


def test_p11_the_stop_is_not_a_matter_of_logging(handler: TokentraceHandler) -> None:
    assert handler.raise_error
    assert handler.run_inline
