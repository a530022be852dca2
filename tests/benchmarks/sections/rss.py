"""Peak memory that a recorder adds to a process that runs agents."""

from __future__ import annotations

from tests.benchmarks.sampling import NOTHING, TOKENTRACE, Options, interleaved
from tests.benchmarks.tables import middle, table


def report(options: Options) -> str:
    variants = [NOTHING, TOKENTRACE, *options.installed_peers()]
    rounds, runs = options.repeat(3), 1 if options.quick else 20
    samples = interleaved(variants, rounds, "peak", {"steps": 10, "runs": runs})
    peaks = {
        variant: [sample.figures["peak"] / 1e6 for sample in taken] for variant, taken in samples.items()
    }
    rows = [
        [variant.title, middle(with_it), middle(map(float.__sub__, with_it, peaks[NOTHING]))]
        for variant, with_it in peaks.items()
    ]
    heads = ["peak RSS, MB", "process", "added"]
    return (
        f"{table(heads, rows)}\n\n{rounds} samples of each, {runs} agent runs of 10 steps in each, medians."
    )
