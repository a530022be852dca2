"""Import time of the core, against what a LangChain program imports anyway."""

from __future__ import annotations

from tests.benchmarks.sampling import Options, sample
from tests.benchmarks.tables import Cell, middle, pairs, table

OURS, THEIRS = "tokentrace_core", "langchain_core.callbacks, langchain_core.runnables"


def report(options: Options) -> str:
    rounds = options.repeat(9)
    samples = [sample("import_time", {"modules": {OURS: OURS, THEIRS: THEIRS}}) for _ in range(rounds)]
    ours, theirs = (
        [
            [figure * 1e3 for figure in figures]
            for figures in zip(*(one[name] for one in samples), strict=True)
        ]
        for name in (OURS, THEIRS)
    )
    rows: list[list[Cell]] = [
        [f"`{OURS}`", *map(middle, ours)],
        [f"`{THEIRS}`", *map(middle, theirs)],
        ["ratio", *map(pairs, ours, theirs)],
    ]
    return f"{table(['import, ms', 'clock', 'CPU'], rows)}\n\n{rounds} samples of each, medians; files in the cache."
