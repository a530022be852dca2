"""How long each callback keeps the agent's thread, while an agent runs: on the clock, and in CPU time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import attach
from tests.benchmarks.samples import Place

Times = tuple[list[int], list[int]]


def measure(place: Place, steps: int, runs: int) -> dict[str, Any]:
    """Percentiles in µs; the timer's own cost is in them, and in those of the no-op."""
    work = workload.agent(steps)
    attached = attach(place)
    times: Times = ([], [])
    wall, cpu = times
    _time_callbacks(type(attached.handler), times)
    for _ in range(2):
        work(attached.callbacks)
    attached.flush()
    del wall[:], cpu[:]
    gc.collect()
    gc.freeze()
    for _ in range(runs):
        work(attached.callbacks)
    attached.flush()
    return {"wall": _percentiles(wall), "cpu": _percentiles(cpu), "calls": len(wall)}


def _time_callbacks(handler: type, times: Times) -> None:
    """In the class, since some recorders make a handler for each run."""
    inside = [False]
    for name in dir(handler):
        if name.startswith("on_"):
            setattr(handler, name, _timed(getattr(handler, name), times, inside))


def _timed(method: Callable[..., Any], times: Times, inside: list[bool]) -> Callable[..., Any]:
    wall, cpu = times

    def timed(*args: Any, **kwargs: Any) -> Any:
        if inside[0]:  # called by another callback, which is being timed
            return method(*args, **kwargs)
        inside[0] = True
        cpu_before, before = time.thread_time_ns(), time.perf_counter_ns()
        try:
            return method(*args, **kwargs)
        finally:
            wall.append(time.perf_counter_ns() - before)
            cpu.append(time.thread_time_ns() - cpu_before)
            inside[0] = False

    return timed


def _percentiles(times: list[int]) -> list[float]:
    """Median, 99th of a hundred, and the longest, in µs."""
    ordered = sorted(times)
    return [ordered[int(len(ordered) * share)] / 1e3 for share in (0.5, 0.99)] + [ordered[-1] / 1e3]
