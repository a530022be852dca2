"""What the end of a process takes longer because of the recorder's last flush."""

from __future__ import annotations

from tests.benchmarks.sampling import NOTHING, TOKENTRACE, Options, Variant, interleaved
from tests.benchmarks.tables import middle, table


def report(options: Options) -> str:
    variants = [NOTHING, TOKENTRACE, *options.installed_peers()]
    rounds, runs = options.repeat(5), 1 if options.quick else 10
    columns = [
        _endings(variants, rounds, {"runs": runs, "quiet_s": quiet_s})
        for quiet_s in ((0.0,) if options.quick else (1.0, 0.0))
    ]
    rows = [
        [variant.title, *(cell for column in columns for cell in column[variant])] for variant in variants
    ]
    heads = [
        "ms from the last statement to the end of the process",
        "after a quiet second",
        "added",
        "at once",
        "added",
    ]
    return f"{table(heads[:1] + heads[-2 * len(columns) :], rows)}\n\n{rounds} samples of each after {runs} runs, medians."


def _endings(
    variants: list[Variant], rounds: int, facts: dict[str, float]
) -> dict[Variant, tuple[float | None, float | None]]:
    samples = interleaved(variants, rounds, "ending", facts)
    times = {variant: [sample.ending_s * 1e3 for sample in taken] for variant, taken in samples.items()}
    return {
        variant: (middle(with_it), middle(map(float.__sub__, with_it, times[NOTHING])))
        for variant, with_it in times.items()
    }
