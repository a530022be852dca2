"""How fast the writer is, against `executemany` of ready rows into the same tables."""

from __future__ import annotations

from tests.benchmarks.sampling import Options, sample
from tests.benchmarks.tables import middle, pairs, table

TITLES = {"tools": "tool calls with 1 KB of result", "runs": "all spans of agent runs, with their messages"}
WAYS = ("raw", "texts ready", "texts to redact")


def report(options: Options) -> str:
    rounds, size = (
        options.repeat(5),
        {"runs": 2, "calls": 200} if options.quick else {"runs": 40, "calls": 4_000},
    )
    samples = [sample("store", size) for _ in range(rounds)]
    rows = []
    for name, title in TITLES.items():
        taken = [one[name] for one in samples]
        by_way = {way: [one[way] / one["rows"] * 1e6 for one in taken] for way in WAYS}
        ratios = [pairs(by_way["raw"], by_way[way]) for way in WAYS[1:]]
        rows.append([title, *(middle(by_way[way]) for way in WAYS), *ratios])
    heads = ["µs of CPU per row, batches of 100 spans", "raw `executemany`", "writer, texts ready"]
    heads += ["writer, texts to redact and encode", "throughput, ready", "throughput, to redact"]
    return f"{table(heads, rows)}\n\n{rounds} samples, medians; throughput is the ratio to raw `executemany`."
