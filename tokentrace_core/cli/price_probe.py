"""What a price book charges for a model, found by asking it: calls of a known size, one counter at a time.

So what is shown cannot disagree with what a call is charged; that also finds the prompt size at which a dearer tier
begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from tokentrace_core.price_list import TIERS
from tokentrace_core.pricing import PriceBook, to_usd
from tokentrace_core.usage import Usage

COUNTERS = {
    "input": "input_uncached_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
}
#: A probe of this many tokens is far below every tier, and large enough for an exact price per million.
_PROBE = 1_000
_LONGEST_PROMPT = 10_000_000


class Tier(NamedTuple):
    above: int
    """Prompt tokens above which these prices hold for the whole call; 0 for the usual ones."""
    per_million: dict[str, Decimal]


class Listed(NamedTuple):
    model: str
    provider: str | None
    version: str | None
    context_window: int | None
    tiers: list[Tier]
    services: dict[str, dict[str, Decimal]]
    """The same at the service tiers that have a price."""


def look_up(book: PriceBook, model: str, provider: str | None) -> Listed | None:
    """All that the book says of a model today; None if it has no price."""
    usual = book.price(model, Usage(input_uncached_tokens=_PROBE), provider=provider)
    if usual.nano_usd is None:
        return None
    tiers = [
        Tier(above, per_million(book, model, provider, above)) for above in _steps(book, model, provider)
    ]
    window = book.context_window(model, provider=provider)
    return Listed(model, provider, usual.version, window, tiers, dict(_services(book, model, provider)))


def _services(book: PriceBook, model: str, provider: str | None) -> Iterator[tuple[str, dict[str, Decimal]]]:
    for service in TIERS:
        version = book.price(model, Usage(), provider=provider, tier=service).version or ""
        if f" {service}" in version and "(no price" not in version:
            yield service, per_million(book, model, provider, 0, service)


def _steps(book: PriceBook, model: str, provider: str | None) -> Iterator[int]:
    """The prompt sizes above which another price holds, from 0 on."""
    above = 0
    while True:
        yield above
        price = _probe(book, model, provider, "input", above)
        if not _differs(book, model, provider, price, _LONGEST_PROMPT):
            return
        same, other = above + _PROBE, _LONGEST_PROMPT
        while other - same > 1:
            middle = (same + other) // 2
            if _differs(book, model, provider, price, middle):
                other = middle
            else:
                same = middle
        above = same


def _differs(book: PriceBook, model: str, provider: str | None, price: Decimal, prompt: int) -> bool:
    charged = _charged(book, model, provider, Usage(input_uncached_tokens=prompt))
    for_the_call = _charged(book, model, provider, Usage())
    return abs(charged - for_the_call - price * prompt / 1_000_000) > Decimal("1e-8")


def per_million(
    book: PriceBook, model: str, provider: str | None, above: int, service: str | None = None
) -> dict[str, Decimal]:
    return {counter: _probe(book, model, provider, counter, above, service) for counter in COUNTERS}


def _probe(
    book: PriceBook, model: str, provider: str | None, counter: str, above: int, service: str | None = None
) -> Decimal:
    """The price of a million tokens of one counter, in a call whose prompt is longer than `above`."""
    # Rounded up to whole probes: so the part that is subtracted again is exact.
    prompt = -(-above // _PROBE) * _PROBE + (_PROBE if above else 0)
    with_it: dict[str, Any] = {"input_uncached_tokens": prompt}
    with_it[COUNTERS[counter]] = with_it.get(COUNTERS[counter], 0) + _PROBE
    charged = _charged(book, model, provider, Usage(**with_it, service_tier=service))
    rest = _charged(book, model, provider, Usage(input_uncached_tokens=prompt, service_tier=service))
    return ((charged - rest) * 1_000_000 / _PROBE).normalize()


def _charged(book: PriceBook, model: str, provider: str | None, usage: Usage) -> Decimal:
    return to_usd(book.price(model, usage, provider=provider).nano_usd or 0)
