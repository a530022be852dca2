"""`python -m tests.benchmarks.samples MEASURE FACTS`: measures once and prints the figures as a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module

name, facts = sys.argv[1], json.loads(sys.argv[2])
figures = import_module(f"tests.benchmarks.samples.{name}").measure(**facts)
print(json.dumps({**figures, "said_at": time.monotonic()}), flush=True)
