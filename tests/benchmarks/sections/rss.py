"""Peak memory that a recorder adds to a process that runs agents.

sqlite-utils loads NumPy where it finds it. So it is also measured beside a program that has NumPy loaded anyway.
"""

from __future__ import annotations

from importlib.util import find_spec

from tests.benchmarks.sampling import NOTHING, TOKENTRACE, Options, Variant, interleaved
from tests.benchmarks.tables import Cell, middle, table

Row = list[Cell]


def report(options: Options) -> str:
    rounds, runs = options.repeat(3), 1 if options.quick else 20
    facts = {"steps": 10, "runs": runs, "loaded": []}
    rows = _rows([NOTHING, TOKENTRACE, *options.installed_peers()], rounds, facts)
    if find_spec("numpy") is not None and not options.quick:
        beside = _rows([NOTHING, TOKENTRACE], rounds, facts | {"loaded": ["numpy"]})
        rows += [[f"{title}, in a program that uses NumPy", *figures] for title, *figures in beside]
    note = f"{rounds} samples of each, {runs} agent runs of 10 steps in each, medians."
    return f"{table(['peak RSS, MB', 'process', 'added'], rows)}\n\n{note}"


def _rows(variants: list[Variant], rounds: int, facts: dict[str, object]) -> list[Row]:
    samples = interleaved(variants, rounds, "peak", facts)
    peaks = {
        variant: [sample.figures["peak"] / 1e6 for sample in taken] for variant, taken in samples.items()
    }
    return [
        [variant.title, middle(with_it), middle(map(float.__sub__, with_it, peaks[NOTHING]))]
        for variant, with_it in peaks.items()
    ]
