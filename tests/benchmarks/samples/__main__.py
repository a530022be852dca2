"""`python -m tests.benchmarks.samples MEASURE PLACE FACTS`: measures once and prints the figures as a line of JSON.

The line comes at the very end: after threads were waited for and everybody's last words at exit, which are timed.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.samples import Place

figures: dict[str, Any] = {}


def say() -> None:
    if figures:
        ending = {"wall": time.perf_counter() - ended, "cpu": time.process_time() - cpu_at_end}
        print(json.dumps({**figures, "ending": ending}), flush=True)


atexit.register(say)  # the first to register is the last to be called
measure, place, facts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
module = import_module(f"tests.benchmarks.samples.{measure}")
figures = module.measure(Place(place["recorder"], Path(place["folder"]), place["sink"]), **facts)
ended, cpu_at_end = time.perf_counter(), time.process_time()
