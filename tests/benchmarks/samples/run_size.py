"""Bytes of one run: of the file that it is the only one in, or of what is sent of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import FILE, attach


def measure(recorder: str, sink: str, steps: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        attached = attach(recorder, Path(folder), sink)
        workload.agent(steps)(attached.callbacks)
        attached.flush()
        stored = attached.stored()
        attached.close()
        size = sum(file.stat().st_size for file in Path(folder).glob(f"{FILE}*"))
    expected = workload.spans_of if attached.records_chains else workload.calls_of
    return {"size": size, "stored": stored, "expected": expected("agent", steps)}
