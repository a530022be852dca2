"""Time to import modules in an interpreter that has imported nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.benchmarks.samples import Place

_CODE = """
import time
before, cpu_before = time.perf_counter(), time.process_time()
import {modules}
print([time.perf_counter() - before, time.process_time() - cpu_before])
"""


def measure(_: Place, modules: dict[str, str]) -> dict[str, Any]:
    """Seconds, on the clock and of CPU, by name."""
    return {name: _import(names) for name, names in modules.items()}


def _import(names: str) -> list[float]:
    code = [sys.executable, "-c", _CODE.format(modules=names)]
    seconds: list[float] = json.loads(subprocess.run(code, capture_output=True, text=True, check=True).stdout)
    return seconds
