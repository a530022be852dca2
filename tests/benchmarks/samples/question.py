"""One command of the command line, asked of a file: its time, and the peak of memory."""

from __future__ import annotations

import os
import time
from contextlib import redirect_stdout
from typing import Any

from tests.benchmarks.samples import Place
from tests.benchmarks.samples.memory import peak


def measure(place: Place, command: list[str], file: str) -> dict[str, Any]:
    """Seconds from the first import to the last line, as somebody waits for them."""
    wall, cpu = time.perf_counter(), time.process_time()
    from tokentrace_core.cli import main

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        main([*command, "--db", file], standalone_mode=False)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak()}
