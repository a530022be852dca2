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
from tokentrace_core.analysis.audit.findings import Title, plain
from tokentrace_core.analysis.audit.looks import Case, Look

KIND = "context_rot"
LEAST_RUNS = 8
LEAST_US = 5 * 86_400_000_000
FIRST_RUNS = 3
GROWN = 1.5
STEADY = 0.8

Loop = tuple[str, str]
"""An agent, and the name of the runs that it works in."""


class Beginning(Struct, array_like=True, order=True, gc=False):
    """The first call of a run."""

    at: int
    run_id: str
    prompt: int
    latency_us: int


class Beginnings(Struct, array_like=True):
    """Of the runs of one agent."""

    loop: Loop
    prompts: list[int]
    """Tokens, in the order of time."""
    early: list[Beginning]
    """The first and the last few."""
    late: list[Beginning]

    @classmethod
    def of(cls, loop: Loop, begun: list[Beginning]) -> Beginnings:
        """Those of one day."""
        begun.sort()
        return cls(loop, [run.prompt for run in begun], begun[:FIRST_RUNS], begun[-FIRST_RUNS:])

    def join(self, later: Beginnings) -> None:
        self.prompts += later.prompts
        self.early = sorted([*self.early, *later.early])[:FIRST_RUNS]
        self.late = sorted([*self.late, *later.late])[-FIRST_RUNS:]

    def rot(self) -> bool:
        """Whether the prompts grow, run over run."""
        if len(self.prompts) < LEAST_RUNS or self.late[-1].at - self.early[0].at < LEAST_US:
            return False
        first = max(run.prompt for run in self.early)
        last = median(run.prompt for run in self.late)
        return last >= GROWN * first and _correlation(self.prompts) >= STEADY


class _Rot(NamedTuple):
    """Of an agent whose prompts grow."""

    title: str
    first: set[str]
    """Its first runs."""
    usual: dict[int, int]
    """Step -> the longest prompt that it had in them."""


class ContextRot(Look[list[Beginnings]]):
    tells = list[Beginnings]

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._seen: dict[Loop, list[Beginning]] = defaultdict(list)
        self._heard: dict[Loop, Beginnings] = {}
        self._rotten: dict[Loop, _Rot] = {}

    def see(self, page: Page) -> None:
        for call in page.calls:
            step = call.step
            if step.number == 1 and step.spawned_by is None and call.is_chat and call.status == "success":
                latency = (call.ended_at or call.started_at) - call.started_at
                begun = Beginning(call.started_at, call.run.id, call.prompt, latency)
                self._seen[call.who, call.run.name].append(begun)

    def told(self) -> list[Beginnings]:
        return [Beginnings.of(loop, begun) for loop, begun in self._seen.items()]

    def hear(self, told: list[Beginnings]) -> None:
        for begun in told:
            heard = self._heard.setdefault(begun.loop, begun)
            if heard is not begun:
                heard.join(begun)

    def again(self) -> Iterable[str]:
        for loop, begun in self._heard.items():
            if begun.rot():
                self._rotten[loop] = self._rot(loop, begun)
        return self.case.runs_of({who for who, _ in self._rotten})

    def _rot(self, loop: Loop, begun: Beginnings) -> _Rot:
        first = {run.run_id for run in begun.early}
        usual: dict[int, int] = defaultdict(int)
        for run in self.case.trace.runs(first):
            for call in run.calls:
                if (call.who, run.run.name) == loop:
                    step = call.step.number or 1
                    usual[step] = max(usual[step], call.prompt)
        title = f"{plain(loop[0])}: prompts grow run over run, {_grown(begun)} ({{calls}} calls)"
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
                self.tally.add(KIND, call, loop, partial(Title, rot.title), [waste])


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


def _grown(begun: Beginnings) -> str:
    ends = begun.early, begun.late
    prompts = [median(run.prompt for run in runs) for runs in ends]
    seconds = [median(run.latency_us for run in runs) / 1_000_000 for runs in ends]
    return f"from {prompts[0]:,.0f} to {prompts[1]:,.0f} tokens, latency from {seconds[0]:.1f} to {seconds[1]:.1f} s"
