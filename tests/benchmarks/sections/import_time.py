"""Import time of the core, against what a LangChain program imports anyway."""

from __future__ import annotations

from tests.benchmarks.sampling import TOKENTRACE, Options, Variant, interleaved
from tests.benchmarks.tables import middle, pairs, table

LANGCHAIN = Variant("langchain", "`langchain_core.callbacks`, `langchain_core.runnables`")
MODULES = {
    TOKENTRACE: ["tokentrace_core"],
    LANGCHAIN: ["langchain_core.callbacks", "langchain_core.runnables"],
}


def report(options: Options) -> str:
    rounds = options.repeat(9)
    titles = {TOKENTRACE: "`tokentrace_core`", LANGCHAIN: LANGCHAIN.title}
    samples = interleaved(
        list(MODULES), rounds, "import_time", {"modules": {v.name: m for v, m in MODULES.items()}}
    )
    times = {
        variant: [(s.figures["wall"] * 1e3, s.figures["cpu"] * 1e3) for s in taken]
        for variant, taken in samples.items()
    }
    rows = [[titles[variant], *map(middle, zip(*taken, strict=True))] for variant, taken in times.items()]
    ours, theirs = (list(zip(*times[variant], strict=True)) for variant in MODULES)
    rows.append(["ratio", *map(pairs, ours, theirs)])
    return f"{table(['import, ms', 'clock', 'CPU'], rows)}\n\n{rounds} samples of each, medians, files in the cache."
