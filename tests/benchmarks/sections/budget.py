"""What a budget costs on the agent's thread."""

from __future__ import annotations

from tests.benchmarks.sampling import Options, sample
from tests.benchmarks.tables import middle, pairs, table


def report(options: Options) -> str:
    rounds = options.repeat(5)
    samples = [sample("budget", {"calls": 20 if options.quick else 2_000}) for _ in range(rounds)]
    names = ("check", "with", "without", "shared")
    check, with_it, without, shared = ([one[name] for one in samples] for name in names)
    rows = [
        ["reserve and settle, alone", middle(check), pairs(check, without)],
        ["a model call without a budget", middle(without), "1.00"],
        ["a model call with a budget", middle(with_it), pairs(with_it, without)],
        ["beginning one under two shared limits, time waited", middle(shared), pairs(shared, without)],
    ]
    heads = ["µs of CPU on the calling thread", "per model call", "ratio to a call without"]
    return f"{table(heads, rows)}\n\n{rounds} samples, medians."
