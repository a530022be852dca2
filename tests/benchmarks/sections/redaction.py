"""What redaction costs per KB of new text, and whose time it is."""

from __future__ import annotations

from tests.benchmarks.sampling import Options, sample
from tests.benchmarks.tables import middle, pairs, table

HEADS = (
    "µs of CPU per KB",
    "five plain patterns",
    "`Redactor`",
    "ratio",
    "adds on the calling thread",
    "adds on the writer's",
)


def report(options: Options) -> str:
    rounds = options.repeat(5)
    samples = [sample("redaction", {"texts": 2 if options.quick else 40}) for _ in range(rounds)]
    rows = []
    for kind in samples[0]:
        of = {name: [one[kind][name] for one in samples] for name in samples[0][kind]}
        ratio = pairs(of["redactor"], of["patterns"])
        rows.append(
            [kind, *map(middle, (of["patterns"], of["redactor"])), ratio, *map(middle, (of["on"], of["off"]))]
        )
    note = "The last two columns: tool calls with such arguments, less the same with a redactor that has no rules."
    return f"{table(HEADS, rows)}\n\n{rounds} samples, medians. {note}"
