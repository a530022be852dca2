"""What the end of a process takes because of the recorder's last flush."""

from __future__ import annotations

from tests.benchmarks.sampling import NOTHING, TOKENTRACE, Options, interleaved
from tests.benchmarks.tables import Cell, middle, table


def report(options: Options) -> str:
    variants = [TOKENTRACE] if options.quick else [NOTHING, TOKENTRACE, *options.installed_peers()]
    rounds, runs = options.repeat(5), 1 if options.quick else 10
    rows: list[list[Cell]] = [[variant.title] for variant in variants]
    for quiet_s in (0.0,) if options.quick else (1.0, 0.0):
        samples = interleaved(variants, rounds, "ending", {"runs": runs, "quiet_s": quiet_s})
        for row, taken in zip(rows, samples.values(), strict=True):
            endings = [sample.figures["ending"] for sample in taken]
            row += [middle(ending[clock] * 1e3 for ending in endings) for clock in ("wall", "cpu")]
    heads = ["ms from the last statement to the last words", "after a quiet second", "CPU", "at once", "CPU"]
    note = f"{rounds} samples of each after {runs} runs, medians."
    return f"{table([heads[0], *heads[1 - len(rows[0]) :]], rows)}\n\n{note}"
