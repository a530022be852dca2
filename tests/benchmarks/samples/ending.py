"""A process that has recorded some runs, and ends: how long the end takes is seen from outside."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import attach


def measure(recorder: str, sink: str, runs: int, quiet_s: float) -> dict[str, Any]:
    folder = Path(mkdtemp())  # the parent removes it: it is written until the very end
    work = workload.agent(10)
    attached = attach(recorder, folder, sink)
    for _ in range(runs):
        work(attached.callbacks)
    time.sleep(quiet_s)
    return {"folder": str(folder), "told": runs * workload.spans_of("agent", 10)}
