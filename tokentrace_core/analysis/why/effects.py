"""What can change the cost of a piece of work, and how much of its difference each of them made.

A cell is one place of one kind of run: a step of an agent, at one position of its loop. What it cost is a product:

    runs x part that is of this kind x calls there per run x part with a price x cost of a call
    cost of a call = Σ over counters (tokens per call x price of a token, mean over the models that were used)

Each factor is one effect. Of the prompt there are two: how long it was, and what of it was read from or written to the cache, in
tokens per call. So a prompt that grows by ten retrieved chunks is a longer prompt and no worse cache, and one whose prefix
is read no more is a worse cache and no longer prompt. Since a cell is one position of a loop, what a longer loop resends is the
loop's doing and not the prompt's.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import lcm
from typing import NamedTuple

from tokentrace_core.analysis.why.apportion import orders, rounded, shapley

#: The effects in their order, and what they are called.
EFFECTS: dict[str, str] = {
    "runs": "number of runs",
    "kinds": "kinds of runs",
    "calls": "calls per run",
    "priced": "calls with a price",
    "input": "input tokens per call",
    "cache": "cache share",
    "output": "output tokens per call",
    "models": "model mix",
    "prices": "prices",
    "tools": "tool costs",
}
#: How often a call was made, and what it cost: a cell's cost is a value of the one times a value of the other.
_OFTEN = ("runs", "kinds", "calls", "priced")
_DEAR = ("input", "cache", "output", "models", "prices")
OF_CELL = _OFTEN + _DEAR

#: A model call's counters that are paid for, in the order in which they stand everywhere here: the prompt's, then the reply's.
COUNTERS = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
)
_PLAIN, *_CACHED, _OUTPUT = range(len(COUNTERS))
_FEE = len(COUNTERS)

Rates = tuple[Fraction, ...]
"""Nano-dollars per token of each counter, and at the end per call."""
Whole = tuple[list[int], int]
"""Fractions as whole numbers over one denominator."""


class Used(NamedTuple):
    """What one model did in a cell."""

    calls: int
    tokens: tuple[int, ...]
    rates: Rates
    """So that tokens x rates is the cost, but for the rounding of single calls."""


class SideOfCell(NamedTuple):
    """A cell in one of the two periods."""

    runs: int
    """In the whole period; in a cell of the heavy user's theirs, in others those of all others."""
    of_kind: int
    """Of these, the ones of the cell's kind."""
    calls: int
    """In the cell, with a price or without."""
    cost: int
    models: dict[str, Used]
    """Of the calls with a price."""


class _Factors(NamedTuple):
    """A side in the terms of the product."""

    runs: Fraction
    kinds: Fraction
    calls: Fraction
    priced: Fraction
    input: Fraction
    cache: tuple[Fraction, ...]
    output: Fraction
    models: tuple[dict[str, Fraction], ...]
    """For each counter, and for the calls: model -> its part of them."""
    prices: dict[str, Rates]


Sides = tuple[_Factors, _Factors]


def effects_of(before: SideOfCell, after: SideOfCell) -> dict[str, int]:
    """The effects of a cell in nano-dollars; their sum is `after.cost - before.cost`."""
    nothing = dict.fromkeys(OF_CELL, 0)
    if not before.models and not after.models:
        return nothing
    sides = _factors(before, after), _factors(after, before)
    often, often_scale = _how_often(sides)
    dear, dear_scale = _how_dear(sides)
    often, often_names = _busy(_OFTEN, often)
    dear, dear_names = _busy(_DEAR, dear)
    names = (*often_names, *dear_names) or ("prices",)
    parts = shapley([cost * calls for cost in dear for calls in often]) or [0]
    whole = rounded(parts, often_scale * dear_scale * orders(len(names)), after.cost - before.cost)
    return nothing | dict(zip(names, whole, strict=True))


def _factors(side: SideOfCell, other: SideOfCell) -> _Factors:
    """What a side does not tell is as on the other: what did not happen has not changed otherwise.

    So is the price of a model that one side did not use.
    """
    of_kind = side if side.of_kind else other
    called = side if side.calls else other
    priced = side if side.models else other
    counts = _counts(priced)
    calls = counts[_FEE]
    return _Factors(
        runs=Fraction(side.runs),
        kinds=_part(side.of_kind, side.runs) if side.runs else _part(other.of_kind, other.runs),
        calls=_part(of_kind.calls, of_kind.of_kind),
        priced=_part(_counts(called)[_FEE], called.calls),
        input=Fraction(sum(counts[:_OUTPUT]), calls),
        cache=tuple(Fraction(counts[place], calls) for place in _CACHED),
        output=Fraction(counts[_OUTPUT], calls),
        models=_mix(priced, counts),
        prices={model: used.rates for each in (other, side) for model, used in each.models.items()},
    )


def _counts(side: SideOfCell) -> list[int]:
    """Tokens of each counter, and the calls that have a price."""
    tokens = [sum(used.tokens[place] for used in side.models.values()) for place in range(len(COUNTERS))]
    return [*tokens, sum(used.calls for used in side.models.values())]


def _part(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction()


def _mix(side: SideOfCell, counts: Sequence[int]) -> tuple[dict[str, Fraction], ...]:
    """Each model's part. Where there are no tokens of a counter: as of the calls."""
    of_calls = {model: Fraction(used.calls, counts[_FEE]) for model, used in side.models.items()}
    of_tokens = [
        {model: Fraction(used.tokens[place], count) for model, used in side.models.items()}
        if count
        else of_calls
        for place, count in enumerate(counts[:_FEE])
    ]
    return (*of_tokens, of_calls)


def _how_often(sides: Sides) -> Whole:
    """The number of priced calls for every mask over `_OFTEN`."""
    values, denominator = [1], 1
    for name in _OFTEN:
        factors, scale = _whole([getattr(side, name) for side in sides])
        values = [value * factor for factor in factors for value in values]
        denominator *= scale
    return values, denominator


def _how_dear(sides: Sides) -> Whole:
    """The cost of a call for every mask over `_DEAR`: the sum of what its length, its cache and its reply cost."""
    rates = [_mean_rates(sides[models], sides[prices]) for prices, models in product((0, 1), repeat=2)]
    terms = [
        [[side.input * each[_PLAIN] for side in sides] for each in rates],
        [[_cache_cost(side, each) for side in sides] for each in rates],
        [[side.output * each[_OUTPUT] + each[_FEE] for side in sides] for each in rates],
    ]
    flat, denominator = _whole([value for term in terms for pair in term for value in pair])
    prompt, cache, output = (flat[start : start + 8] for start in (0, 8, 16))
    values = [
        prompt[2 * charged + p] + cache[2 * charged + c] + output[2 * charged + o]
        for charged, o, c, p in product(range(4), (0, 1), (0, 1), (0, 1))
    ]
    return values, denominator


def _cache_cost(side: _Factors, rates: Sequence[Fraction]) -> Fraction:
    """What reading from and writing to the cache costs beyond sending the same tokens without it."""
    tokens = zip(side.cache, _CACHED, strict=True)
    return sum((count * (rates[place] - rates[_PLAIN]) for count, place in tokens), Fraction())


def _mean_rates(mix: _Factors, prices: _Factors) -> list[Fraction]:
    """What a token of each counter costs, and a call, over the models that were used."""
    return [
        sum((part * prices.prices[model][place] for model, part in of_models.items()), Fraction())
        for place, of_models in enumerate(mix.models)
    ]


def _whole(values: Sequence[Fraction]) -> Whole:
    denominator = lcm(*(value.denominator for value in values))
    return [value.numerator * (denominator // value.denominator) for value in values], denominator


def _busy(names: tuple[str, ...], values: list[int]) -> tuple[list[int], tuple[str, ...]]:
    """The values over those players only whose change changes any of them; others get nothing in any order."""
    left = list(names)
    for name in names:
        bit = 1 << left.index(name)
        without = [mask for mask in range(len(values)) if not mask & bit]
        if all(values[mask] == values[mask | bit] for mask in without):
            values = [values[mask] for mask in without]
            left.remove(name)
    return values, tuple(left)
