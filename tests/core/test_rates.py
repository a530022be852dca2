"""Prices by learnt rates: quick, and to the nano-dollar what the price list says itself."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from genai_prices import Usage as ListedUsage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core import PriceBook, Usage
from tokentrace_core.pricing import to_nano
from tokentrace_core.rates import learn

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKENS = st.integers(0, 600_000)
USAGE = st.builds(
    Usage,
    input_uncached_tokens=TOKENS,
    cache_read_tokens=TOKENS,
    cache_write_5m_tokens=TOKENS,
    cache_write_1h_tokens=TOKENS,
    output_tokens=TOKENS,
)


@cache
def models() -> list[tuple[Any, Any]]:
    return [(provider, model) for provider in get_snapshot().providers for model in provider.models]


@cache
def book() -> PriceBook:
    return PriceBook()


def by_the_list(provider: Any, model: Any, usage: Usage) -> Decimal:
    listed = ListedUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
    )
    total = model.calc_price(listed, provider, genai_request_timestamp=AT).total_price
    assert isinstance(total, Decimal)
    return total


def nano(provider: Any, model: Any, usage: Usage) -> int:
    return book()._nano((provider, model, ""), usage, AT)


@given(USAGE, st.randoms(use_true_random=False))
def test_no_invoice_differs_from_the_price_list(usage: Usage, random: Any) -> None:
    for provider, model in random.sample(models(), 20):
        assert nano(provider, model, usage) == to_nano(by_the_list(provider, model, usage)), model.id


def test_every_model_of_the_list_is_priced_the_quick_way() -> None:
    """Else a call of that model would cost the agent fifty microseconds."""
    slow = [
        model.id
        for provider, model in models()
        if not learn(model.get_prices(AT), lambda usage, p=provider, m=model: by_the_list(p, m, usage))  # type: ignore[misc]
    ]
    assert slow == []


@pytest.mark.parametrize("prompt", [199_999, 200_000, 200_001, 270_540 + 7_936])
def test_the_tier_is_chosen_by_the_whole_prompt(prompt: int) -> None:
    """Else a long prompt is billed at the price of a short one."""
    found = [
        (provider, model)
        for provider, model in models()
        if provider.id == "anthropic" and "sonnet-4-5" in model.id
    ]
    assert found
    for provider, model in found:
        for cached in (0, 7_936):
            usage = Usage(
                input_uncached_tokens=prompt - cached, cache_read_tokens=cached, output_tokens=1_000
            )
            assert nano(provider, model, usage) == to_nano(by_the_list(provider, model, usage))


def test_prices_that_are_no_rates_are_left_to_the_list() -> None:
    """Else a discount by the square of the tokens would be billed as a line."""
    prices = SimpleNamespace()
    assert learn(prices, lambda usage: Decimal(usage.input_tokens) ** 2) == ()
    assert learn(prices, lambda usage: Decimal(usage.output_tokens) / 3) == ()
