"""What a budget costs the agent's thread: the check alone, and a whole model call with and without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.samples import Place
from tokentrace_core import Budget, PriceBook, Tracer, Usage
from tokentrace_core.account import Account
from tokentrace_core.forecast import Request
from tokentrace_core.recorder import Recorder

MODEL, PROVIDER = "gpt-4o-mini", "openai"
BUDGET = Budget(run_usd=1_000_000, steps=1_000_000_000)
SHARED = Budget(run_usd=1_000_000, user_day_usd=1_000_000, session_usd=1_000_000)
USAGE = Usage(input_uncached_tokens=600, cache_read_tokens=5_400, output_tokens=20)
MESSAGES = [{"role": "user", "content": "Read all of it."}]


def measure(place: Place, calls: int) -> dict[str, Any]:
    """µs of the thread's CPU per call; of a shared limit, the median of the time that a call waits."""
    with_budget, without = _call(Recorder(budget=BUDGET)), _call(Recorder())
    works = {"check": _check(Account(BUDGET, PriceBook(), None)), "with": with_budget, "without": without}
    for work in works.values():
        _per_call(work, max(calls // 10, 1))
    return {name: _per_call(work, calls) for name, work in works.items()} | {"shared": _shared(place, calls)}


def _shared(place: Place, calls: int) -> float:
    """The file is written meanwhile: the run is recorded, too."""
    waited = []
    with Tracer(place.folder / "shared.db", budget=SHARED) as tracer, tracer.run("run", user="ada") as run:
        for _ in range(calls):
            call = run.llm(MODEL, provider=PROVIDER, messages=MESSAGES)
            before = time.perf_counter()
            call.begin()
            waited.append(time.perf_counter() - before)
            call.done("Yes.", usage=USAGE)
            call.end()
    return statistics.median(waited) * 1e6


def _check(account: Account) -> Callable[[int], object]:
    def check(number: int) -> None:
        request = Request(MODEL, PROVIDER, 5_400, 2_000, None, number)
        account.settle(account.reserve(request), USAGE, 1_000)

    return check


def _call(recorder: Recorder) -> Callable[[int], object]:
    recorder.open_run("run", "run")

    def call(number: int) -> None:
        recorder.open_llm(number, parent="run", model=MODEL, provider=PROVIDER, messages=MESSAGES)
        recorder.close_llm(number, usage=USAGE, output={"role": "assistant", "content": "Yes."})

    return call


def _per_call(work: Callable[[int], object], calls: int) -> float:
    before = time.thread_time()
    for number in range(calls):
        work(number)
    return (time.thread_time() - before) / calls * 1e6
