"""The cells of a comparison: the work of two periods, put side by side place by place.

A place is a step of an agent, at one position of its loop, in one kind of run. Names are compared as they are. Those that one
period has and the other has not are put together if that is so on both sides: a step that was given another name is no step that
ended and no step that began. Rare names beyond a number are put together, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple, TypeVar

from tokentrace_core.analysis.why.effects import COUNTERS, Rates, SideOfCell, Used, effects_of
from tokentrace_core.analysis.why.facts import OTHERS, Both, Kind, Period, Work
from tokentrace_core.analysis.why.rates import Charged, scaled

_MOST_KINDS = 30
_MOST_STEPS = 40

Name = TypeVar("Name", bound=Hashable)
Step = tuple[str | None, str | None]
"""An agent, and a step of it."""
RatesOf = Callable[[Work], Rates]
"""What was charged for such work in its period."""


class Place(NamedTuple):
    """Where a model was called."""

    kind: str
    heavy: bool
    agent: str | None
    step: str | None
    position: int


class Cell(NamedTuple):
    """A place in both periods, and what made its difference."""

    place: Place
    before: SideOfCell
    after: SideOfCell
    effects: dict[str, int]

    @property
    def difference(self) -> int:
        """In nano-dollars; the sum of the effects."""
        return self.after.cost - self.before.cost


def kept_kinds(before: Mapping[Kind, int], after: Mapping[Kind, int]) -> set[str]:
    """The names of runs that are compared as they are."""
    named = [_sums((name, runs) for (name, _), runs in side.items()) for side in (before, after)]
    return _kept(named[0], named[1], _MOST_KINDS)


def cells_of(periods: Both, rates: tuple[RatesOf, RatesOf]) -> list[Cell]:
    """All places of both periods."""
    counted = [_steps(period) for period in periods]
    steps = {
        kind: _kept(counted[0].get(kind, {}), counted[1].get(kind, {}), _MOST_STEPS)
        for kind in {*counted[0], *counted[1]}
    }

    def place(work: Work) -> Place:
        step: Step = (work.agent, work.step)
        named = step if step in steps[work.kind, work.heavy] else (OTHERS, OTHERS)
        return Place(work.kind, work.heavy, *named, _rounded(work.position))

    sides = [_side(period, place, own) for period, own in zip(periods, rates, strict=True)]
    found = []
    for each in dict.fromkeys([*sides[0], *sides[1]]):
        before, after = (
            side.get(each) or _nothing(period, each) for side, period in zip(sides, periods, strict=True)
        )
        found.append(Cell(each, before, after, effects_of(before, after)))
    return found


def _kept(before: Mapping[Name, int], after: Mapping[Name, int], most: int) -> set[Name]:
    both = before.keys() & after.keys()
    gone, come = before.keys() - both, after.keys() - both
    names = both if gone and come else both | gone | come
    weights = {name: before.get(name, 0) + after.get(name, 0) for name in names}
    return set(sorted(names, key=lambda name: (-weights[name], str(name)))[:most])


def _sums(counts: Iterable[tuple[Name, int]]) -> dict[Name, int]:
    sums: dict[Name, int] = defaultdict(int)
    for name, count in counts:
        sums[name] += count
    return sums


def _steps(period: Period) -> dict[Kind, dict[Step, int]]:
    """How many calls each step has, in each kind of run."""
    counts: dict[Kind, list[tuple[Step, int]]] = defaultdict(list)
    for work in period.work:
        counts[work.kind, work.heavy].append(((work.agent, work.step), work.calls))
    return {kind: _sums(of_kind) for kind, of_kind in counts.items()}


def _rounded(position: int) -> int:
    """Far into a loop a step more or less is no other place."""
    width = 1 if position <= 20 else 5 if position <= 50 else 25
    return position - position % width


def _side(period: Period, place: Callable[[Work], Place], rates_of: RatesOf) -> dict[Place, SideOfCell]:
    works: dict[Place, list[Work]] = defaultdict(list)
    for work in period.work:
        works[place(work)].append(work)
    return {
        each: _nothing(period, each)._replace(
            calls=sum(work.calls for work in done),
            cost=sum(work.cost for work in done),
            models=_models([work for work in done if work.priced], rates_of),
        )
        for each, done in works.items()
    }


def _nothing(period: Period, place: Place) -> SideOfCell:
    """A place where no model was called in this period."""
    runs = sum(count for (_, heavy), count in period.kinds.items() if heavy == place.heavy)
    return SideOfCell(runs, period.kinds.get((place.kind, place.heavy), 0), 0, 0, {})


def _models(works: Iterable[Work], rates_of: RatesOf) -> dict[str, Used]:
    of_models: dict[str, list[Work]] = defaultdict(list)
    for work in works:
        of_models[work.model].append(work)
    return {model: _used(done, rates_of) for model, done in of_models.items()}


def _used(works: list[Work], rates_of: RatesOf) -> Used:
    """One model's work in one place, at prices that make its cost."""
    charged = charged_for(works)
    rates = _mean([(work, rates_of(work)) for work in works])
    return Used(charged.calls, charged.tokens, scaled(rates, charged))


def charged_for(works: Iterable[Work]) -> Charged:
    """What was charged for all of it."""
    done = list(works)
    tokens = (sum(work.tokens[place] for work in done) for place in range(len(COUNTERS)))
    return Charged(sum(work.calls for work in done), tuple(tokens), sum(work.cost for work in done))


def _mean(charged: list[tuple[Work, Rates]]) -> Rates:
    """The rates of work at several prices: of each counter as its tokens were, of one without tokens as the calls were."""
    if len(charged) == 1:
        return charged[0][1]
    means = []
    for place in range(len(COUNTERS) + 1):
        weights = [(*work.tokens, work.calls)[place] for work, _ in charged]
        if not any(weights):
            weights = [work.calls for work, _ in charged]
        pairs = zip(weights, charged, strict=True)
        means.append(sum((weight * rates[place] for weight, (_, rates) in pairs), Fraction()) / sum(weights))
    return tuple(means)
