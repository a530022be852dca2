"""Peak memory of a process that runs an agent, with a recorder or without."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import attach
from tests.benchmarks.samples import Place
from tests.benchmarks.samples.memory import peak


def measure(place: Place, steps: int, runs: int, loaded: list[str]) -> dict[str, Any]:
    """`loaded`: modules that the program uses itself, so that they are nobody else's weight."""
    for module in loaded:
        import_module(module)
    work = workload.agent(steps)
    attached = attach(place)
    for _ in range(runs):
        work(attached.callbacks)
    attached.flush()
    return {"peak": peak(), "stored": attached.stored()}
