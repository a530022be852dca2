"""What a model of the price list charges per token, learnt from the list's own arithmetic.

genai-prices works a price out by walking its registry of units: right, but fifty microseconds long, on the
agent's thread. Between two thresholds of the prompt's length a price is a sum of our counters, each times a rate. So
the list is asked once per counter and threshold, the answer is checked against it with a usage that has all of them,
and from then on a price is a handful of multiplications of whole numbers: the same figure, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
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
    input_audio: int = 0
    """How much dearer a token of sound is than one of text, in the uncached prompt."""
    output_audio: int = 0
    """The same in the reply."""
    search: int = 0
    """For a search by the provider."""

    def nano(self, usage: Usage) -> int:
        """The price of a usage in nano-dollars, half to even."""
        exact = self._exact(usage)
        whole, rest = exact // _PER_NANO, exact % _PER_NANO
        return whole + (2 * rest + whole % 2 > _PER_NANO)

    def times(self, factor: Fraction) -> Rates:
        """These rates, all at a part of the price."""
        return Rates(self.above, *(round(rate * factor) for rate in self[1:]))

    @property
    def charge_tokens(self) -> bool:
        """Whether any token costs anything."""
        return any((self.uncached, self.read, self.output, self.input_audio, self.output_audio))

    def _exact(self, usage: Usage) -> int:
        exact = (
            self.call
            + usage.input_uncached_tokens * self.uncached
            + usage.cache_read_tokens * self.read
            + usage.cache_write_5m_tokens * self.write_5m
            + usage.cache_write_1h_tokens * self.write_1h
            + usage.output_tokens * self.output
        )
        if usage.input_audio_tokens or usage.output_audio_tokens or usage.web_searches:
            # Sound that came from the cache is not told apart: it is charged as text from the cache.
            exact += min(usage.input_audio_tokens, usage.input_uncached_tokens) * self.input_audio
            exact += usage.output_audio_tokens * self.output_audio + usage.web_searches * self.search
        return exact


def pick(tiers: tuple[Rates, ...], usage: Usage) -> Rates | None:
    """The rates for a prompt of this length; `tiers` from the longest down. None if none are known."""
    prompt = usage.input_tokens
    for rates in tiers:
        if prompt > rates.above or not rates.above:
            return rates
    return None


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
        return whole((ask(usage) - call) / tokens)

    def beside_prompt(**more: Any) -> int:
        return whole(ask(Usage(input_uncached_tokens=tokens, **more)) - in_text)

    in_text = ask(Usage(input_uncached_tokens=tokens))
    output = beside_prompt(output_tokens=1)
    return Rates(
        above=above,
        call=whole(call),
        uncached=whole((in_text - call) / tokens),
        read=per_token(Usage(cache_read_tokens=tokens)),
        write_5m=per_token(Usage(cache_write_5m_tokens=tokens)),
        write_1h=per_token(Usage(cache_write_1h_tokens=tokens)),
        output=output,
        input_audio=beside_prompt(input_audio_tokens=1),
        output_audio=beside_prompt(output_tokens=1, output_audio_tokens=1) - output,
        search=beside_prompt(web_searches=1),
    )


def _agrees(rates: Rates, ask: AskList) -> bool:
    """Whether the list says the same of a usage that has a little of everything."""
    usage = Usage(
        input_uncached_tokens=rates.above + 1_039,
        cache_read_tokens=1_013,
        cache_write_5m_tokens=1_019,
        cache_write_1h_tokens=1_021,
        output_tokens=1_031,
        input_audio_tokens=1_033,
        output_audio_tokens=1_021,
        web_searches=3,
    )
    return whole(ask(usage)) == rates._exact(usage)


def whole(dollars: Decimal) -> int:
    """Dollars as rates count them."""
    scaled = dollars.scaleb(_DIGITS)
    if scaled != int(scaled):
        raise ValueError(f"{dollars} dollars are no whole number of 10^-{_DIGITS}")
    return int(scaled)
