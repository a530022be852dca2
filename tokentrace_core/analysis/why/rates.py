"""What a token cost, learnt so that tokens times rates make what was recorded.

The price book of today is asked first, for the time of the calls. Where its answer is not what was charged (your own prices, a
discount, another version of the list), the calls themselves tell: their costs are sums of their counters, each times a rate, so a
few hundred of them are solved for the rates. Where that has no answer either, the usual ratios are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import NamedTuple

import msgspec

from tokentrace_core.analysis.why.effects import COUNTERS, Rates
from tokentrace_core.pricing import PriceBook
from tokentrace_core.usage import Usage

#: Rates are asked for a prompt of this length: no model charges more for it because it is long.
_ASKED = 10_000
#: A cache read, writes for five minutes and an hour, and the reply, against a token of the prompt.
_USUAL = tuple(Fraction(ratio) for ratio in ("1", "0.1", "1.25", "2", "4"))
#: Prices have at most this many digits behind a nano-dollar.
_DIGITS = 4


class Charged(NamedTuple):
    """Calls of one model at one price, in sums: tokens as `COUNTERS`, and nano-dollars."""

    calls: int
    tokens: tuple[int, ...]
    cost: int

    def agrees_with(self, rates: Rates) -> bool:
        """Whether they make the cost, but for the rounding of each call."""
        return abs(self.cost - cost_at(rates, self.calls, self.tokens)) <= self.calls


def cost_at(rates: Rates, calls: int, tokens: Sequence[int]) -> Fraction:
    """Nano-dollars at these rates."""
    return sum((count * rate for count, rate in zip((*tokens, calls), rates, strict=True)), Fraction())


def rates_in_book(
    book: PriceBook, model: str, answered: str | None, provider: str | None, at: int
) -> Rates | None:
    """What the book says of a time (microseconds); None: it has no price."""
    moment = datetime.fromtimestamp(at / 1_000_000, UTC)
    rates = []
    for counter in COUNTERS:
        usage = msgspec.structs.replace(Usage(), **{counter: _ASKED})
        priced = book.price_call(model, answered, usage, provider=provider, at=moment, tier=None)
        if priced.nano_usd is None:
            return None
        rates.append(Fraction(priced.nano_usd, _ASKED))
    return (*rates, Fraction())


def solved(samples: Sequence[Charged]) -> Rates | None:
    """The rates that make what these single calls cost, by least squares; None if there are none."""
    columns = [place for place in range(len(COUNTERS)) if any(call.tokens[place] for call in samples)]
    matrix = [
        [Fraction(sum(call.tokens[row] * call.tokens[column] for call in samples)) for column in columns]
        + [Fraction(sum(call.tokens[row] * call.cost for call in samples))]
        for row in columns
    ]
    found = _solution(matrix)
    if not found or min(found) < 0:
        return None
    for digits in range(_DIGITS):
        rates = _with_usual(dict(zip(columns, (round(rate, digits) for rate in found), strict=True)))
        if all(call.agrees_with(rates) for call in samples):
            return rates
    return None


def scaled(rates: Rates, charged: Charged) -> Rates:
    """These rates, all at the part of the price that makes the cost; a fee for each call if they make nothing."""
    if charged.agrees_with(rates):
        return rates
    made = cost_at(rates, charged.calls, charged.tokens)
    if made:
        return tuple(rate * charged.cost / made for rate in rates)
    return (*rates[:-1], rates[-1] + Fraction(charged.cost, charged.calls))


def usual_rates() -> Rates:
    """Where nobody says anything of a model; to be scaled."""
    return (*(1_000 * ratio for ratio in _USUAL), Fraction())


def find_rates(in_book: Rates | None, charged: Charged, sample: Callable[[], Iterable[Charged]]) -> Rates:
    """What such calls were charged per token. `sample` is asked for single ones if the book is of no help."""
    if in_book is not None and charged.agrees_with(in_book):
        return in_book
    learnt = solved(list(sample()))
    return scaled(learnt or in_book or usual_rates(), charged)


def _with_usual(known: dict[int, Fraction]) -> Rates:
    """Counters that were never used get the usual ratio to one that was."""
    place, rate = next(iter(known.items()), (0, Fraction()))
    unit = rate / _USUAL[place]
    return (*(known.get(each, unit * ratio) for each, ratio in enumerate(_USUAL)), Fraction())


def _solution(matrix: list[list[Fraction]]) -> list[Fraction] | None:
    """Gauss and Jordan; None if there is not just one solution."""
    size = len(matrix)
    for place in range(size):
        pivot = next((row for row in range(place, size) if matrix[row][place]), None)
        if pivot is None:
            return None
        matrix[place], matrix[pivot] = matrix[pivot], matrix[place]
        top = [value / matrix[place][place] for value in matrix[place]]
        matrix[place] = top
        for row in range(size):
            factor = matrix[row][place]
            if row != place and factor:
                matrix[row] = [value - factor * above for value, above in zip(matrix[row], top, strict=True)]
    return [row[-1] for row in matrix]
