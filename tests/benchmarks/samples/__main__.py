"""`python -m tests.benchmarks.samples MEASURE PLACE FACTS`: measures once and prints the figures as a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from tests.benchmarks.samples import Place

measure, place, facts = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
module = import_module(f"tests.benchmarks.samples.{measure}")
figures = module.measure(Place(place["recorder"], Path(place["folder"]), place["sink"]), **facts)
print(json.dumps({**figures, "said_at": time.monotonic()}), flush=True)
