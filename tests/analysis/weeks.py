"""Weeks of traffic with habits, recorded through the real recorder at a time of the test's own.

A week is runs of a support agent: each asks the model a few times, and a tool in between. Every habit is one thing that changes
a bill, so a test plants its cause by replacing one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tokentrace_core import Tracer, ids
from tokentrace_core.usage import Usage

DAY_US = 86_400_000_000
#: A Monday.
START = datetime(2026, 9, 7, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000


class Clock:
    """Stands in for `time` where spans get theirs."""

    def __init__(self) -> None:
        self.ns = START_US * 1_000

    def time_ns(self) -> int:
        self.ns += 1_000  # no two readings are the same
        return self.ns

    perf_counter_ns = time_ns

    def set(self, us: int) -> None:
        self.ns = us * 1_000


@dataclass(frozen=True)
class Habits:
    """How a week goes."""

    runs: int = 60
    turns: int = 4
    prompt: int = 3_000
    """Tokens of the first prompt; each turn adds 200."""
    cached: int = 2_000
    """Of these, read from the cache."""
    output: int = 200
    model: str = "gpt-4o"
    failing: int = 0
    """Turns that are added because the tool errs."""
    result_bytes: int = 800
    tool_kind: str = "retrieval"
    tool_cost: float | None = None
    max_tokens: int = 500
    users: int = 12
    loud: int = 0
    """Runs of one user more, beyond those of the others."""
    agent: str = "support"
    version: str | None = None
    tags: tuple[str, ...] = ()


def record_week(tracer: Tracer, clock: Clock, week: int, habits: Habits, seed: int = 0) -> None:
    """The runs of a week, spread over its days."""
    rng = random.Random(f"{week} {seed}")
    users = [f"user-{number % habits.users}" for number in range(habits.runs)] + ["loud"] * habits.loud
    rng.shuffle(users)
    for number, user in enumerate(users):
        clock.set(START_US + week * 7 * DAY_US + (2 * number + 1) * 7 * DAY_US // (2 * len(users)))
        with tracer.run(habits.agent, user=user, agent_version=habits.version, tags=list(habits.tags)) as run:
            _record_turns(run, habits, rng)


def _record_turns(run: Any, habits: Habits, rng: random.Random) -> None:
    turns = habits.turns + habits.failing
    for turn in range(turns):
        with run.step("answer" if turn == turns - 1 else "look") as step:
            with step.llm(habits.model, messages="x", max_tokens=habits.max_tokens) as call:
                prompt = habits.prompt + 200 * turn + rng.randrange(-50, 50)
                call.done(None, usage=Usage(
                    input_uncached_tokens=prompt - habits.cached,
                    cache_read_tokens=habits.cached,
                    output_tokens=habits.output + rng.randrange(-20, 20),
                ))  # fmt: skip
            if turn < turns - 1:
                _record_tool(step, habits, failed=turn < habits.failing)


def _record_tool(step: Any, habits: Habits, *, failed: bool) -> None:
    tool = step.tool("search_docs", {"query": "x"}, kind=habits.tool_kind)
    try:
        with tool as open_tool:
            if failed:
                raise ConnectionError("the index is gone")
            open_tool.done("y" * habits.result_bytes, cost_usd=habits.tool_cost)
    except ConnectionError:
        pass


def freeze(monkeypatch: Any) -> Clock:
    """From here on spans begin when the clock says."""
    clock = Clock()
    monkeypatch.setattr(ids, "time", clock)
    return clock
