"""Some days of mixed traffic, recorded through the real recorder at a time of the test's own, and questions about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.analysis import traffic
from tests.analysis.weeks import DAY_US, START_US, Clock
from tokentrace_core import Tracer
from tokentrace_core.analysis import Scope, days
from tokentrace_core.analysis.metrics import metrics
from tokentrace_core.analysis.questions import cost_of_success
from tokentrace_core.analysis.spending import spending
from tokentrace_core.store.reader import Reader
from tokentrace_core.usage import Usage

FIRST_DAY, DAYS, RUNS = START_US // DAY_US, 4, 11
TODAY = FIRST_DAY + DAYS
LAST_HOUR_US = DAY_US - 3_600_000_000

Question = Callable[[Reader, Scope], Any]


def _cost(*by: str) -> Question:
    return lambda reader, scope: spending(reader, by, scope)


def _metrics(*by: str) -> Question:
    return lambda reader, scope: metrics(reader, by, scope)


#: What digests tell.
TOLD: dict[str, Question] = {
    "cost": _cost(),
    "cost by model": _cost("model"),
    "cost by tag, hour": _cost("tag", "hour"),
    "cost by week, status": _cost("week", "status"),
    "cost by agent, step-name, provider": _cost("agent", "step-name", "provider"),
    "cost by version, task-type, run-status, error-type": _cost("version", "task-type", "run-status", "error-type"),
    "cost of success": lambda reader, scope: cost_of_success(reader, [("all", scope)]),
    "metrics": _metrics(),
    "metrics by tag": _metrics("tag"),
    "metrics by run-name, tag, version": _metrics("run-name", "tag", "version"),
}  # fmt: skip
#: What they do not.
UNTOLD: dict[str, Question] = {
    "cost by user": _cost("user"),
    "cost by tool": _cost("tool"),
    "cost by attr.tier": _cost("attr.tier"),
    "metrics by user": _metrics("user"),
    "metrics by agent": _metrics("agent"),
}

SCOPES = {
    "ever": Scope(),
    "two whole days": Scope(since=START_US + DAY_US, until=START_US + 3 * DAY_US),
    "from noon to noon": Scope(since=START_US + DAY_US // 2, until=START_US + 3 * DAY_US - DAY_US // 2),
    "since the third day": Scope(since=START_US + 2 * DAY_US),
    "until the third day": Scope(until=START_US + 2 * DAY_US),
    "within one hour": Scope(since=START_US + LAST_HOUR_US, until=START_US + DAY_US),
    "a version and a tag": Scope(where={"version": ("2",), "tag": ("beta", "night")}),
    "a model, failed": Scope(where={"model": ("small",), "status": ("failure", "timeout")}),
    "an agent": Scope(since=START_US + DAY_US, where={"agent": ("helper",)}),
    "a user": Scope(where={"user": ("ada",)}),
    "another project": Scope(where={"project": ("shop",)}),
    "no task type": Scope(where={"task-type": ("(none)",), "run-status": ("success", "failure")}),
}


@contextmanager
def recording(path: Path) -> Iterator[Tracer]:
    with Tracer(path, prices=traffic.PRICES, budget=traffic.BUDGET) as tracer:
        yield tracer


def record(tracer: Tracer, clock: Clock, day: int, seed: int, runs: int = RUNS) -> None:
    """The runs of a day (from 0). The first two are alike, and so are the last two, which spend after midnight."""
    begins = (FIRST_DAY + day) * DAY_US
    for number in range(runs):
        if number < 2 <= runs:
            _plain(tracer, clock, begins + number, begins + 10 + number)
        elif number >= runs - 2 > 0:
            _plain(tracer, clock, begins + LAST_HOUR_US, begins + DAY_US + number)
        else:
            clock.set(begins + number * DAY_US // runs)
            traffic.record(tracer, seed=100 * day + seed + number, runs=1)


def _plain(tracer: Tracer, clock: Clock, begins: int, spends: int) -> None:
    clock.set(begins)
    with tracer.run("plain") as run:
        clock.set(spends)
        with run.llm("small", messages="x") as call:
            call.done(None, usage=Usage(input_uncached_tokens=1_000, output_tokens=10))


def asked(path: Path, question: Question, scope: Scope) -> Any:
    with Reader(path) as reader:
        return question(reader, scope)


def plainly(path: Path, question: Question, scope: Scope) -> Any:
    """The answer without digests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(days, "_LARGE", 10**9)
        return asked(path, question, scope)
