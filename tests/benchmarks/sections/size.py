"""How much a run takes, by its length: does it grow with the steps, or with their square?"""

from __future__ import annotations

from tests.benchmarks.sampling import TOKENTRACE, Options, Sample, interleaved
from tests.benchmarks.tables import show, table


def report(options: Options) -> str:
    lengths = (10,) if options.quick else (10, 50, 200)
    variants = [TOKENTRACE, *options.installed_peers()]
    by_length = [interleaved(variants, 1, "run_size", {"steps": steps}) for steps in lengths]
    rows = [[variant.title, *(_cell(samples[variant]) for samples in by_length)] for variant in variants]
    heads = ["KB of a fresh file, or sent (unpacked)", *(f"{steps} steps" for steps in lengths)]
    return f"{table(heads, rows)}\n\nOne run each. Where spans are missing, it says how many of them arrived."


def _cell(samples: list[Sample]) -> str:
    if not samples:
        return "-"
    sample, size = samples[0], samples[0].figures["size"] or samples[0].delivered_bytes
    expected = sample.figures["expected"]
    missing = "" if sample.arrived >= expected else f" ({sample.arrived:,} of {expected:,} spans)"
    return f"{show(size // 1_000)}{missing}"
