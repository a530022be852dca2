"""What a model of the price list charges per token, learnt from the list's own arithmetic.

genai-prices works a price out by walking its registry of units: right, but fifty microseconds long, on the
agent's thread. Between two thresholds of the prompt's length a price is a sum of our five disjoint counters, each
times a rate. So the list is asked once per counter and threshold, the answer is checked against it with a usage
that has all of them, and from then on a price is five multiplications of whole numbers: the same figure, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from tokentrace_core.usage import Usage

#: What the list charges for a usage, in dollars.
AskList = Callable[[Usage], Decimal]

#: Rates are whole numbers of 10⁻²⁴ dollars: finer than the finest price there is.
_DIGITS = 24
_PER_NANO: int = 10 ** (_DIGITS - 9)


class Rates(NamedTuple):
    """What a call costs whose prompt is longer than `above` tokens, in 10⁻²⁴ dollars per token."""

    above: int
    call: int
    """For the call itself, however long."""
    uncached: int
    read: int
    write_5m: int
    write_1h: int
    output: int

    def nano(self, usage: Usage) -> int:
        """The price of a usage in nano-dollars, half to even."""
        exact = self._exact(usage)
        whole, rest = exact // _PER_NANO, exact % _PER_NANO
        return whole + (2 * rest + whole % 2 > _PER_NANO)

    def _exact(self, usage: Usage) -> int:
        return (
            self.call
            + usage.input_uncached_tokens * self.uncached
            + usage.cache_read_tokens * self.read
            + usage.cache_write_5m_tokens * self.write_5m
            + usage.cache_write_1h_tokens * self.write_1h
            + usage.output_tokens * self.output
        )


def learn(prices: Any, ask: AskList) -> tuple[Rates, ...]:
    """The rates of one set of prices, for the longest prompts first. Empty if it is not that simple."""
    starts = {tier.start for price in vars(prices).values() for tier in getattr(price, "tiers", ())}
    try:
        tiers = [_tier(above, ask) for above in sorted({0, *starts}, reverse=True)]
    except (ArithmeticError, ValueError):
        return ()
    return tuple(tiers) if all(_agrees(rates, ask) for rates in tiers) else ()


def _tier(above: int, ask: AskList) -> Rates:
    tokens = above + 1
    call = ask(Usage())

    def per_token(usage: Usage) -> int:
        return _whole((ask(usage) - call) / tokens)

    prompt = Usage(input_uncached_tokens=tokens)
    reply = Usage(input_uncached_tokens=tokens, output_tokens=1)
    return Rates(
        above,
        _whole(call),
        per_token(prompt),
        per_token(Usage(cache_read_tokens=tokens)),
        per_token(Usage(cache_write_5m_tokens=tokens)),
        per_token(Usage(cache_write_1h_tokens=tokens)),
        _whole(ask(reply) - ask(prompt)),
    )


def _agrees(rates: Rates, ask: AskList) -> bool:
    """Whether the list says the same of a usage that has a little of everything."""
    usage = Usage(
        input_uncached_tokens=rates.above + 1_009,
        cache_read_tokens=1_013,
        cache_write_5m_tokens=1_019,
        cache_write_1h_tokens=1_021,
        output_tokens=1_031,
    )
    return _whole(ask(usage)) == rates._exact(usage)


def _whole(dollars: Decimal) -> int:
    scaled = dollars.scaleb(_DIGITS)
    if scaled != int(scaled):
        raise ValueError(f"{dollars} dollars are no whole number of 10^-{_DIGITS}")
    return int(scaled)
