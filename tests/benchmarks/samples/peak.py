"""Peak memory of a process that runs an agent, with a recorder or without."""

from __future__ import annotations

import resource
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import attach
from tests.benchmarks.samples import Place

_STATUS = Path("/proc/self/status")


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


def peak() -> int:
    """Bytes. Linux counts in `ru_maxrss` what the parent had when it forked, so it is asked elsewhere."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
