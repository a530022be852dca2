"""CPU added per event: the same LangChain work without a recorder, with a no-op, with tokentrace, with each peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tests.benchmarks.sampling import NO_OP, TOKENTRACE, Options, Sample, Variant, interleaved
from tests.benchmarks.tables import middle, pairs, show, table

#: Form, steps, runs. The replay resolves what the agent's own noise hides.
PLANS = (
    ("replay", 10, 20),
    ("replay", 50, 4),
    ("replay", 200, 1),
    ("lean", 10, 30),
    ("agent", 10, 20),
    ("agent", 50, 4),
    ("agent", 200, 1),
)
QUICK = (("replay", 10, 1), ("lean", 10, 1), ("agent", 10, 1))

Samples = Mapping[Variant, Sequence[Sample]]


def report(options: Options) -> str:
    plans = QUICK if options.quick else PLANS
    peers = options.installed_peers()
    variants = [NO_OP, TOKENTRACE, *peers]
    rounds = options.repeat(3 if peers else 5)
    samples = interleaved(variants, rounds, "cpu", {"plans": plans})
    added = {variant: [_added(sample) for sample in samples[variant]] for variant in variants}
    names = [f"{form} {steps}" for form, steps, _ in plans]
    rows = [
        [variant.title, *map(middle, zip(*added[variant], strict=True)), _delivered(samples[variant])]
        for variant in variants
        if added[variant]
    ]
    absolute = table(["µs of CPU added per event", *names, "delivered"], rows)
    ratios = table(["tokentrace's, ratio", *names], _ratios(added, peers, len(names)))
    note = f"{rounds} samples of each, medians."
    if not options.quick:
        note += f" {_replayed(samples[TOKENTRACE])}"
    return f"{absolute}\n\n{ratios}\n\n{note}"


def _added(sample: Sample) -> list[float]:
    figures = sample.figures
    return [(with_it - bare) * 1e6 for bare, with_it in zip(figures["bare"], figures["with"], strict=True)]


def _replayed(samples: Sequence[Sample]) -> str:
    """Whose time it is, and whether an event costs more late in a long conversation."""
    plans = range(sum(form == "replay" for form, *_ in PLANS))
    by_plan = [[sample.figures["thread"][place] * 1e6 for sample in samples] for place in plans]
    whole = [[sample.figures["with"][place] for sample in samples] for place in plans]
    on_thread = ", ".join(show(middle(figures)) for figures in by_plan)
    return (
        f"Of tokentrace's replays, {on_thread} µs are the agent's own thread's, the rest the writer's; "
        f"at 200 steps an event takes {pairs(whole[-1], whole[0])} times as much as at 10."
    )


def _ratios(
    added: Mapping[Variant, list[list[float]]], peers: Sequence[Variant], plans: int
) -> list[list[str]]:
    """Of each plan, the ratio to the no-op and to the cheapest peer, taken round by round."""
    by_plan = [
        {variant: [figures[place] for figures in rounds] for variant, rounds in added.items() if rounds}
        for place in range(plans)
    ]
    rows = [["to the no-op", *(pairs(of[TOKENTRACE], of[NO_OP]) for of in by_plan)]]
    if there := [peer for peer in peers if added[peer]]:
        cheapest = [min(there, key=_cost_in(of)) for of in by_plan]
        against = (pairs(of[TOKENTRACE], of[peer]) for of, peer in zip(by_plan, cheapest, strict=True))
        rows += [["to the cheapest peer", *against], ["which is", *(peer.title for peer in cheapest)]]
    return rows


def _cost_in(figures: Mapping[Variant, Sequence[float]]) -> Callable[[Variant], float]:
    return lambda variant: middle(figures[variant]) or 0.0


def _delivered(samples: Sequence[Sample]) -> str:
    """Of the spans that it was told of: in its file, or at the sink."""
    told = sum(sample.figures["told"] for sample in samples)
    arrived = sum(sample.arrived for sample in samples)
    return f"{arrived:,} of {told:,}" if arrived else "nothing"
