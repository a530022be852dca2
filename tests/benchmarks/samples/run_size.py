"""Bytes of one run: of the file that it is the only one in, or of what is sent of it."""

from __future__ import annotations

from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import FILE, attach
from tests.benchmarks.samples import Place


def measure(place: Place, steps: int) -> dict[str, Any]:
    attached = attach(place)
    workload.agent(steps)(attached.callbacks)
    attached.flush()
    stored = attached.stored()
    attached.close()
    size = sum(file.stat().st_size for file in place.folder.glob(f"{FILE}*"))
    expected = workload.spans_of if attached.records_chains else workload.calls_of
    return {"size": size, "stored": stored, "expected": expected("agent", steps)}
