"""Time to import a module in a process that has just begun."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any


def measure(recorder: str, sink: str, modules: dict[str, list[str]]) -> dict[str, Any]:
    before, cpu_before = time.perf_counter(), time.process_time()
    for module in modules[recorder]:
        import_module(module)
    return {"wall": time.perf_counter() - before, "cpu": time.process_time() - cpu_before}
