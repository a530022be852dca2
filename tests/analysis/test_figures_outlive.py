"""Reports read real runs of a framework, of processes that died, and of traces that retention has let go."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.analysis import traffic
from tests.core import test_cli
from tests.core.test_cli import reply
from tests.integrations.langchain.agents import GO, add, agent, other_model
from tests.loopback import LoopbackServer
from tests.loopback.clients import chat_openai
from tests.loopback.turns import ToolCall, Turn, TurnUsage
from tokentrace_core import Tracer
from tokentrace_core.analysis.metrics import metrics
from tokentrace_core.analysis.questions import spent_on_failures
from tokentrace_core.analysis.spending import spending
from tokentrace_core.store.pieces import do_all
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.retention import Keeping, Retention
from tokentrace_core.store.upkeep import opened
from tokentrace_langchain import TokentraceHandler

tracer = test_cli.tracer


def test_langchains_fallback_is_one(
    tracer: Tracer, stored: Callable[[], Reader], server: LoopbackServer
) -> None:
    server.script(Turn(status=429), Turn("Yes."), Turn("Yes."))
    first = chat_openai(server, max_retries=0)
    config = {"callbacks": [TokentraceHandler(tracer)]}
    for _ in range(2):
        first.with_fallbacks([other_model(server, "gpt-4o")]).invoke("Is it?", config)
    (found,) = metrics(stored())
    assert (found.runs, found.success_rate, found.fallback_rate) == (2, 1.0, 0.5)


def test_langchains_agent_in_a_loop_is_in_one(
    tracer: Tracer, stored: Callable[[], Reader], server: LoopbackServer
) -> None:
    again = Turn(tool_calls=(ToolCall("add", {"a": 1, "b": 2}),), usage=TurnUsage(100, 10))
    server.script(again, again, again, Turn("3", usage=TurnUsage(400, 10)))
    agent(server, add, name="adder").invoke(GO, {"callbacks": [TokentraceHandler(tracer)]})
    (found,) = metrics(stored(), ["agent"])
    assert (found.key, found.steps.max, found.loop_rate) == (("adder",), 4, 1.0)
    assert [(tool.name, tool.calls, tool.retry_rate) for tool in found.tools] == [("add", 3, 0.0)]
    assert found.token_efficiency == 40 / 700
    assert found.steps_by_number[-1].mean_input_tokens == 400


@pytest.fixture
def left_behind(tracer: Tracer, tmp_path: Path) -> Path:
    """A file whose writer was killed in the middle of a run, a minute ago."""
    path = tmp_path / "left.db"
    with tracer.run("killed") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply(sent=1_000))
        assert tracer.flush(10)
        with closing(sqlite3.connect(tracer.path)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
            copy.execute("update writers set beat_at = beat_at - 60000000")
            copy.commit()
    return path


def test_a_killed_run_is_over_failed_and_paid_for(left_behind: Path) -> None:
    with Reader(left_behind) as reader:
        (found,) = metrics(reader)
        lost = spent_on_failures(reader)
    assert (found.runs, found.unfinished, found.success_rate) == (1, 0, 0.0)
    assert (lost.failed.runs, lost.failed.cost_nano_usd) == (1, 1_500_000)
    assert lost.reasons[0].key[0] == "interrupted"


@pytest.mark.parametrize("days", [3, 40], ids=["texts gone", "traces gone"])
def test_what_retention_lets_go_of_does_not_change_what_runs_cost_and_how_they_went(
    db: Path, days: int
) -> None:
    with Tracer(db, prices=traffic.PRICES, budget=traffic.BUDGET) as tracer:
        traffic.record(tracer, seed=3)

    def said() -> object:
        with Reader(db) as reader:
            return (
                metrics(reader),
                metrics(reader, ["agent"]),
                spending(reader).total,
                spending(reader, ["day"]).rows,
            )

    before = said()
    with opened(db) as connection:
        do_all(
            connection, Keeping(connection, Retention(), datetime.now(UTC) + timedelta(days=days)).pieces()
        )
    assert said() == before
    with closing(sqlite3.connect(db)) as connection:
        (calls,) = connection.execute("select count(*) from llm_calls").fetchone()
    assert (calls == 0) == (days == 40)
