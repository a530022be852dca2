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
from msgspec.structs import replace

from tokentrace_core import Usage
from tokentrace_core.money import to_nano
from tokentrace_core.price_list import TIERS, Listed
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
    input_audio_tokens=TOKENS,
    output_audio_tokens=TOKENS,
    web_searches=st.integers(0, 5),
)


@cache
def models() -> list[tuple[Any, Any]]:
    return [(provider, model) for provider in get_snapshot().providers for model in provider.models]


@cache
def listed(number: int) -> Listed:
    return Listed(*models()[number], "")


def by_the_list(provider: Any, model: Any, usage: Usage, tier: str | None = None) -> Decimal:
    whole = ListedUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        # sound from the cache is not told apart
        input_audio_tokens=min(usage.input_audio_tokens, usage.input_uncached_tokens),
        cache_audio_read_tokens=0,
        output_audio_tokens=usage.output_audio_tokens,
        web_searches=usage.web_searches,
    )
    total = model.calc_price(
        whole, provider, genai_request_timestamp=AT, price_context=TIERS[tier] if tier else None
    ).total_price
    assert isinstance(total, Decimal)
    return total


def possible(usage: Usage) -> Usage:
    """No more sound than there is reply."""
    return replace(usage, output_audio_tokens=min(usage.output_audio_tokens, usage.output_tokens))


@given(USAGE.map(possible), st.sampled_from([None, *TIERS]), st.randoms(use_true_random=False))
def test_no_invoice_differs_from_the_price_list(usage: Usage, tier: str | None, random: Any) -> None:
    for number in random.sample(range(len(models())), 20):
        provider, model = models()[number]
        expected = to_nano(by_the_list(provider, model, usage, tier))
        assert listed(number).nano(usage, AT, tier) == expected, (model.id, tier)


def test_every_model_of_the_list_is_priced_the_quick_way() -> None:
    """Else a call of that model would cost the agent fifty microseconds."""
    slow = [listed(number).id for number in range(len(models())) if not listed(number).rates(AT)]
    assert slow == []


LONG = [
    number
    for number, (provider, model) in enumerate(models())
    if (provider.id, model.id)
    in {("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"), ("openai", "gpt-5.4")}
]


@pytest.mark.parametrize("prompt", [199_999, 200_000, 200_001, 272_000, 272_001, 270_540 + 7_936])
@pytest.mark.parametrize("number", LONG)
def test_the_tier_is_chosen_by_the_whole_prompt(number: int, prompt: int) -> None:
    """Else a long prompt is billed at the price of a short one."""
    assert len(LONG) == 3
    for cached in (0, 7_936, prompt):
        usage = Usage(input_uncached_tokens=prompt - cached, cache_read_tokens=cached, output_tokens=1_000)
        assert listed(number).nano(usage, AT) == to_nano(by_the_list(*models()[number], usage))


def test_p9_270540_and_7936_cached_tokens_together_are_over_272000() -> None:
    """tokscale#862: each part alone is below the threshold; the request is not."""
    split = Usage(input_uncached_tokens=270_540, cache_read_tokens=7_936, output_tokens=1_000)
    [number] = [number for number in LONG if models()[number][1].id == "gpt-5.4"]
    short = listed(number).rates(AT)[-1]
    assert short.above == 0
    long = listed(number).rates(AT)[0]
    assert (long.above, long.uncached, long.read, long.output) == (
        272_000,
        2 * short.uncached,
        2 * short.read,
        short.output * 3 // 2,
    )
    assert listed(number).nano(split, AT) == long.nano(split) > short.nano(split)


def test_prices_that_are_no_rates_are_left_to_the_list() -> None:
    """Else a discount by the square of the tokens would be billed as a line."""
    prices = SimpleNamespace()
    assert learn(prices, lambda usage: Decimal(usage.input_tokens) ** 2) == ()
    assert learn(prices, lambda usage: Decimal(usage.output_tokens) / 3) == ()
