"""One command of the command line, asked of a file: its time, and the peak of memory, with the processes that it starts."""

from __future__ import annotations

import os
import time
from contextlib import redirect_stdout
from typing import Any

from tests.benchmarks.samples import Place
from tests.benchmarks.samples.memory import PeakOfAll


def measure(place: Place, command: list[str], file: str) -> dict[str, Any]:
    """Seconds from the first import to the last line, as somebody waits for them."""
    wall, cpu = time.perf_counter(), _cpu()
    with PeakOfAll() as watched, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        from tokentrace_core.cli import main

        main([*command, "--db", file], standalone_mode=False)
    return {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu, "peak": watched.bytes}


def _cpu() -> float:
    """Of this process, and of those that it has started and that are over."""
    return sum(os.times()[:4])
