"""Context rot: the prompt of the same step grows from run to run, over days, and with it cost and latency.

A conversation grows while it lasts; that is no rot. Reported is an agent whose runs, at least eight over five days or more, begin with ever longer
prompts: nearly every run with a longer one than most before it (rank correlation of 0.8), at the end half as long again as the longest of the first
three (requirements.md S23). What it would have cost: each step with a prompt no longer than that step had in the first three runs. Taken
from the start of the prompt, where the cache is, so the figure is rather too low.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from statistics import median
from typing import NamedTuple

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import PROMPT, Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain

LEAST_RUNS = 8
LEAST_US = 5 * 86_400_000_000
FIRST_RUNS = 3
GROWN = 1.5
STEADY = 0.8


class _Beginning(NamedTuple):
    """The first call of a run."""

    at: int
    run_id: str
    prompt: int
    latency_us: int


def find(trace: Trace, account: Account) -> list[Finding]:
    tally = Tally("context_rot")
    for (agent, run_name), runs in _beginnings(trace).items():
        if not _rots(runs):
            continue
        early, late = runs[:FIRST_RUNS], runs[-FIRST_RUNS:]
        title = f"{plain(agent)}: prompts grow run over run, {_grown(early, late)} ({{calls}} calls)"
        first = {run.run_id for run in early}
        usual: dict[int, int] = defaultdict(int)
        same = "coalesce(s.agent, r.name) = :who and r.name = :run"
        for call in trace.calls(same, "c.started_at, c.id", who=agent, run=run_name):
            step = call.agent_step or 1
            if call.run_id in first:
                usual[step] = max(usual[step], call.prompt)
            elif call.prompt > usual[step] > 0:
                waste = account.prompt(call, 0, call.prompt - usual[step], cached=False)
                tally.add(call, (agent, run_name), partial(str, title), [waste])
    return tally.findings()


def _beginnings(trace: Trace) -> dict[tuple[str, str], list[_Beginning]]:
    """The runs of each agent, in the order of time."""
    selection = trace.scope.calls()
    found: dict[tuple[str, str], list[_Beginning]] = defaultdict(list)
    rows = trace.rows(
        f"""select coalesce(s.agent, r.name), r.name, c.started_at, c.run_id, {PROMPT}, c.ended_at - c.started_at
            {selection.sql} and s.agent_step = 1 and s.parent_call_id is null and c.kind = 'chat' and c.status = 'success'""",
        selection.parameters,
    )
    for agent, run_name, at, run_id, prompt, latency in rows:
        found[agent, run_name].append(_Beginning(at, run_id, prompt, latency or 0))
    for runs in found.values():
        runs.sort()
    return found


def _rots(runs: list[_Beginning]) -> bool:
    if len(runs) < LEAST_RUNS or runs[-1].at - runs[0].at < LEAST_US:
        return False
    first, last = (
        max(run.prompt for run in runs[:FIRST_RUNS]),
        median(run.prompt for run in runs[-FIRST_RUNS:]),
    )
    return last >= GROWN * first and _correlation([run.prompt for run in runs]) >= STEADY


def _correlation(values: list[int]) -> float:
    """Spearman's, of values with their order: 1 if each is greater than the one before it."""
    ranks = _ranks(values)
    mean = (len(values) - 1) / 2
    spread = sum((place - mean) ** 2 for place in range(len(values)))
    own = sum((rank - mean) ** 2 for rank in ranks)
    together = sum((place - mean) * (rank - mean) for place, rank in enumerate(ranks))
    return together / (spread * own) ** 0.5 if own else 0.0


def _ranks(values: list[int]) -> list[float]:
    """Equal values share the mean of their places."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, value in enumerate(sorted(values)):
        places[value].append(place)
    return [sum(places[value]) / len(places[value]) for value in values]


def _grown(early: list[_Beginning], late: list[_Beginning]) -> str:
    prompts = [median(run.prompt for run in runs) for runs in (early, late)]
    seconds = [median(run.latency_us for run in runs) / 1_000_000 for runs in (early, late)]
    return f"from {prompts[0]:,.0f} to {prompts[1]:,.0f} tokens, latency from {seconds[0]:.1f} to {seconds[1]:.1f} s"
