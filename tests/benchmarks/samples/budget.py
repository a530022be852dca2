"""What a budget costs the agent's thread: the check alone, and a whole model call with and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks.samples import Place
from tokentrace_core import Budget, PriceBook, Usage
from tokentrace_core.budget import Account, Request
from tokentrace_core.recorder import Recorder

MODEL, PROVIDER = "gpt-4o-mini", "openai"
BUDGET = Budget(run_usd=1_000_000, steps=1_000_000_000)
USAGE = Usage(input_uncached_tokens=600, cache_read_tokens=5_400, output_tokens=20)
MESSAGES = [{"role": "user", "content": "Read all of it."}]


def measure(_: Place, calls: int) -> dict[str, Any]:
    """µs of the thread's CPU per call."""
    with_budget, without = _call(Recorder(budget=BUDGET)), _call(Recorder())
    works = {"check": _check(Account(BUDGET, PriceBook())), "with": with_budget, "without": without}
    for work in works.values():
        _per_call(work, max(calls // 10, 1))
    return {name: _per_call(work, calls) for name, work in works.items()}


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
