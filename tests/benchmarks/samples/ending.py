"""A process that has recorded some runs, and ends. How long that takes, `__main__` sees."""

from __future__ import annotations

import time
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import attach
from tests.benchmarks.samples import Place


def measure(place: Place, runs: int, quiet_s: float) -> dict[str, Any]:
    work = workload.agent(10)
    attached = attach(place)
    for _ in range(runs):
        work(attached.callbacks)
    time.sleep(quiet_s)
    return {"runs": runs}
