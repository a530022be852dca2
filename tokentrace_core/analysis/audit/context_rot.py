"""Context rot: the prompt of the same step grows from run to run, over days, and with it cost and latency.

A conversation grows while it lasts; that is no rot. Reported is an agent whose runs, at least eight over five days or more, begin with ever longer
prompts: nearly every run with a longer one than most before it (rank correlation of 0.8), at the end half as long again as the longest of the first
three (requirements.md S23). What it would have cost: each step with a prompt no longer than that step had in the first three runs. Taken
from the start of the prompt, where the cache is, so the figure is rather too low.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain
from tokentrace_core.analysis.audit.looks import Case, Look

LEAST_RUNS = 8
LEAST_US = 5 * 86_400_000_000
FIRST_RUNS = 3
GROWN = 1.5
STEADY = 0.8

Loop = tuple[str, str]
"""An agent, and the name of the runs that it works in."""


class _Beginning(Struct, order=True, gc=False):
    """The first call of a run."""

    at: int
    run_id: str
    prompt: int
    latency_us: int


class _Rot(NamedTuple):
    """Of an agent whose prompts grow."""

    title: str
    first: set[str]
    """Its first runs."""
    usual: dict[int, int]
    """Step -> the longest prompt that it had in them."""


class ContextRot(Look):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._begun: dict[Loop, list[_Beginning]] = defaultdict(list)
        self._rotten: dict[Loop, _Rot] = {}
        self._tally = Tally("context_rot")

    def see(self, page: Page) -> None:
        for call in page.calls:
            step = call.step
            if step.number == 1 and step.spawned_by is None and call.is_chat and call.status == "success":
                latency = (call.ended_at or call.started_at) - call.started_at
                begun = _Beginning(call.started_at, call.run.id, call.prompt, latency)
                self._begun[call.who, call.run.name].append(begun)

    def again(self) -> Iterable[str]:
        for loop, begun in self._begun.items():
            begun.sort()
            if _rots(begun):
                self._rotten[loop] = self._rot(loop, begun)
        return self.case.runs_of({who for who, _ in self._rotten})

    def _rot(self, loop: Loop, begun: list[_Beginning]) -> _Rot:
        early, late = begun[:FIRST_RUNS], begun[-FIRST_RUNS:]
        first = {run.run_id for run in early}
        usual: dict[int, int] = defaultdict(int)
        for run in self.case.trace.runs(first):
            for call in run.calls:
                if (call.who, run.run.name) == loop:
                    step = call.step.number or 1
                    usual[step] = max(usual[step], call.prompt)
        title = f"{plain(loop[0])}: prompts grow run over run, {_grown(early, late)} ({{calls}} calls)"
        return _Rot(title, first, usual)

    def see_again(self, run: TracedRun) -> None:
        for call in run.calls:
            loop = call.who, run.run.name
            rot = self._rotten.get(loop)
            if rot is None or run.run.id in rot.first:
                continue
            usual = rot.usual.get(call.step.number or 1, 0)
            if call.prompt > usual > 0:
                waste = self.account.prompt(call, 0, call.prompt - usual, cached=False)
                self._tally.add(call, loop, partial(str, rot.title), [waste])

    def findings(self) -> list[Finding]:
        return self._tally.findings()


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
