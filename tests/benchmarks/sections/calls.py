"""How long a callback keeps the agent's thread."""

from __future__ import annotations

from tests.benchmarks.sampling import NO_OP, TOKENTRACE, Options, interleaved
from tests.benchmarks.tables import Cell, middle, pairs, table

HEADS = ("p50", "p99", "max", "p50 CPU", "p99 CPU", "max CPU")


def report(options: Options) -> str:
    """The longest call of all is often one that the machine gave to another process: the CPU time tells."""
    variants = [NO_OP, TOKENTRACE, *options.installed_peers()]
    rounds, runs = options.repeat(5), 2 if options.quick else 20
    samples = interleaved(variants, rounds, "calls", {"steps": 10, "runs": runs})
    figures = {
        variant: [[*sample.figures["wall"], *sample.figures["cpu"]] for sample in taken]
        for variant, taken in samples.items()
        if taken
    }
    rows: list[list[Cell]] = [
        [variant.title, *map(middle, zip(*rounds, strict=True))] for variant, rounds in figures.items()
    ]
    ours = list(zip(*figures[TOKENTRACE], strict=True))
    rows += [
        [f"tokentrace's, ratio to {variant.title}", *map(pairs, ours, zip(*rounds, strict=True))]
        for variant, rounds in figures.items()
        if variant is not TOKENTRACE
    ]
    calls = samples[TOKENTRACE][0].figures["calls"]
    note = f"{rounds} samples of {calls:,} callbacks each, medians of their percentiles; the timer is in all of them."
    return f"{table(['µs per callback on the calling thread', *HEADS], rows)}\n\n{note}"
