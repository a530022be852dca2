"""More than can be written: what happened to runs and budgets is kept, the rest is counted, and memory is bounded."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.reliability.agents import Agent
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.store import losses, waiting_line

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def held(db: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else has the file locked; `rollback` ends it."""
    with Tracer(db) as tracer:
        assert tracer.flush(20)
    with closing(sqlite3.connect(db)) as other:
        other.execute("begin exclusive")
        yield other


def ask(tracer: Tracer, key: object, text: str, parent: object) -> None:
    tracer.recorder.open_llm(key, parent=parent, model="gpt-4o", messages=[{"role": "user", "content": text}])
    tracer.recorder.close_llm(key, output={"content": text})


@pytest.mark.parametrize("full", ["by count", "by weight"])
def test_a_full_line_turns_calls_away_and_never_how_a_run_began_or_ended_or_was_refused(
    db: Path,
    held: sqlite3.Connection,
    full: str,
    monkeypatch: pytest.MonkeyPatch,
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
    rows: Rows,
    figures: Callable[..., None],
) -> None:
    if full == "by count":
        monkeypatch.setattr(waiting_line, "_MOST_SPANS", 500)
    else:
        monkeypatch.setattr(waiting_line, "_MOST_CHARACTERS", 200_000)
    tracer = Tracer(db, budget=Budget(steps=3))
    refused = 0
    for run in range(400):
        tracer.recorder.open_run(run, "agent", session=f"session {run}")
        for call in range(4):
            try:
                ask(tracer, (run, call), f"{run}.{call} " + "x" * 1_000, run)
            except BudgetExceeded:
                refused += 1
        tracer.recorder.close_run(run)
    assert refused == 400
    if full == "by weight":
        kept_anyway = 400 * 1_100  # the prompts that were refused
        assert tracer._writer._line._weight <= 200_000 + 2_000 + kept_anyway
    assert list(tracer.losses) == ["queue full"]
    [warning] = said()
    assert "queue full" in warning

    held.rollback()
    assert tracer.flush(30)
    assert rows("select count(*) from runs where error_type = 'budget_exceeded'") == [(400,)]
    assert rows("select count(*) from runs where status = 'failure' and ended_at is not null") == [(400,)]
    assert rows("select count(*) from sessions") == [(400,)]
    assert rows("select count(*) from llm_calls where status = 'refused'") == [(400,)]
    ended = sum(
        rows(f"select count(*) from {table} where status not in ('running', 'waiting')")[0][0]
        for table in ("runs", "steps", "llm_calls", "tool_calls")
    )
    assert tracer.close(20)
    lost = tracer.losses["queue full"]
    assert ended + 400 + lost == len(emitted)
    assert rows("select reason, sum(records) from losses group by reason") == [("queue full", lost)]
    figures(offered=len(emitted), lost=lost, difference=0, runs_kept=400, refusals_kept=400)


def test_one_prompt_that_is_too_heavy_does_not_let_the_next_ones_in_for_nothing(
    db: Path, held: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_line, "_MOST_CHARACTERS", 50_000)
    tracer = Tracer(db)
    tracer.recorder.open_run("run", "agent")
    for call in range(50):
        tracer.recorder.open_llm(call, parent="run", model="gpt-4o", messages=["y" * 20_000])
    for call in range(50):
        tracer.recorder.close_llm(call, output="short")
    kept = [item for item in tracer._writer._line.waiting() if getattr(item, "prompt", None)]
    distinct = {id(call.prompt): call.prompt for call in kept}  # type: ignore[attr-defined]
    assert sum(prompt.message.held for prompt in distinct.values()) <= 50_000 + 25_000
    held.rollback()
    assert tracer.close(20)


def test_a_loss_is_said_once_a_minute_for_each_reason(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(losses.time, "monotonic", lambda: now[0])
    numbers = itertools.count()
    account = losses.Losses(Path("traces.db"))

    def lose(reason: str) -> None:
        account.count(reason, [SimpleNamespace(id=next(numbers)) for _ in range(3)])
        account.say(reason)

    for _ in range(120):  # two minutes
        lose("queue full")
        lose("disk full")
        now[0] += 1.0
    assert len(said()) == 4
    assert account.by_reason() == {"queue full": 360, "disk full": 360}


def test_a_burst_far_beyond_what_can_be_written_neither_blocks_nor_fills_the_memory(
    db: Path,
    held: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    length: Callable[[float, float], float],
    figures: Callable[..., None],
) -> None:
    monkeypatch.setattr(waiting_line, "_MOST_SPANS", 500)
    tracer = Tracer(db)
    agent = Agent(tracer)
    agent.work_for(length(1.0, 10.0), pause_s=0.0)
    waiting = [
        item for item in tracer._writer._line.waiting() if type(item).__name__ not in ("Run", "Session")
    ]
    assert len(waiting) <= 500
    agent.check()
    figures(records=len(agent.answers) * 5, waiting=len(waiting), held_up_ms=round(agent.held_up_s * 1000, 1))
    held.rollback()
    with suppress(AssertionError):
        assert tracer.close(5)
    deadline = time.monotonic() + 60
    while tracer._writer._thread is not None and time.monotonic() < deadline:
        time.sleep(0.05)
