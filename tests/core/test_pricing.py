"""A bill is checked to the last digit; a price that is not known must never look like one that is."""

from __future__ import annotations

import random
import timeit
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pytest_socket import disable_socket, enable_socket

from tokentrace_core import PriceBook, Usage
from tokentrace_core.pricing import to_nano, to_usd

AT = datetime(2026, 11, 1, tzinfo=UTC)
BOOK = PriceBook()


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("gpt-4o", {"input_uncached_tokens": 1_000, "output_tokens": 100}, "0.0035"),
        (
            "gpt-4o",
            {"input_uncached_tokens": 86, "cache_read_tokens": 17_817, "output_tokens": 100},
            "0.02348625",
        ),
        ("gpt-4o-mini", {"input_uncached_tokens": 1, "output_tokens": 1}, "0.00000075"),
        ("claude-haiku-4-5", {"input_uncached_tokens": 1_000_000}, "1"),
        ("claude-haiku-4-5", {"cache_read_tokens": 1_000}, "0.0001"),
        ("claude-haiku-4-5", {"cache_write_5m_tokens": 1_000}, "0.00125"),
        ("claude-haiku-4-5", {"cache_write_1h_tokens": 1_000}, "0.002"),
        ("claude-haiku-4-5", {"output_tokens": 1_000, "reasoning_tokens": 900}, "0.005"),
    ],
)
def test_a_call_costs_what_the_provider_bills(model: str, usage: dict[str, int], usd: str) -> None:
    assert BOOK.cost(model, Usage(**usage), at=AT) == Decimal(usd)


@pytest.mark.parametrize("part", ["input_uncached_tokens", "cache_read_tokens", "cache_write_5m_tokens"])
def test_p9_one_token_over_the_threshold_makes_the_whole_call_dear_its_reply_included(part: str) -> None:
    rest = {"output_tokens": 1_000}
    base = BOOK.cost("claude-sonnet-4-5", Usage(**{part: 200_000}, **rest), at=AT)
    over = BOOK.cost("claude-sonnet-4-5", Usage(**{part: 200_001}, **rest), at=AT)
    per_million = {"input_uncached_tokens": "3", "cache_read_tokens": "0.3", "cache_write_5m_tokens": "3.75"}
    price = Decimal(per_million[part]) / 1_000_000
    assert base == 200_000 * price + 1_000 * Decimal("0.000015")
    assert over == round(200_001 * price * 2 + 1_000 * Decimal("0.0000225"), 9)


def test_p9_the_threshold_counts_the_whole_prompt_of_one_request() -> None:
    split = Usage(input_uncached_tokens=100_000, cache_read_tokens=100_001)
    assert BOOK.cost("claude-sonnet-4-5", split, at=AT) == Decimal("0.6") + Decimal("0.0600006")


@pytest.mark.parametrize("model", ["foo-9", "gpt-4o-zzz", "", None, "a/b/c", "\ud800", "llama3.2:3b"])
def test_p8_a_model_without_a_price_costs_unknown_and_never_nothing(model: str | None) -> None:
    priced = BOOK.price(model, Usage(input_uncached_tokens=1_000))
    assert (priced.usd, priced.nano_usd, priced.status, priced.version) == (None, None, "unpriced", None)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("cerebras/qwen-3-coder-480b", None),  # the list knows the name and no price
        ("whisper-1", "openai"),  # charged by the minute
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", None),  # a fine-tuned model is dearer than its base
        ("gpt-oss:120b-cloud", "ollama"),  # a subscription
    ],
)
def test_p8_what_is_not_sold_by_the_token_at_a_known_price_is_not_taken_for_free(
    model: str, provider: str | None
) -> None:
    assert BOOK.price(model, Usage(input_uncached_tokens=1_000), provider=provider).status == "unpriced"


def test_a_gift_is_free_because_its_name_says_so() -> None:
    given = BOOK.price("openrouter/deepseek/deepseek-r1:free", Usage(input_uncached_tokens=1_000))
    assert (given.nano_usd, given.status) == (0, "free")


def test_two_writings_of_a_model_in_one_run_cost_the_same() -> None:
    dashed, compact = "gpt-5.2-2025-12-11", "gpt-5.2-20251211"
    usage = Usage(input_uncached_tokens=1_000)
    assert BOOK.price(dashed, usage) == BOOK.price(compact, usage)


def test_sound_is_charged_as_sound() -> None:
    """An hour of speech is billed at up to sixteen times the price of as many tokens of text."""
    usage = Usage(
        input_uncached_tokens=1_000, input_audio_tokens=400, output_tokens=100, output_audio_tokens=60
    )
    flash = Decimal(600) * Decimal("0.3") + 400 * Decimal(1) + 100 * Decimal("2.5")
    assert BOOK.cost("gemini-2.5-flash", usage, at=AT) == flash / 1_000_000
    realtime = 600 * 4 + 400 * 32 + 40 * 16 + 60 * 64
    assert BOOK.cost("gpt-realtime", usage, provider="openai", at=AT) == Decimal(realtime) / 1_000_000


def test_searches_by_the_provider_are_on_the_bill() -> None:
    """Ten dollars a thousand: more than the tokens of most calls that search."""
    usage = Usage(input_uncached_tokens=1_000, output_tokens=100, web_searches=3)
    assert BOOK.cost("claude-sonnet-4-5", usage, at=AT) == Decimal("0.0045") + 3 * Decimal("0.01")


@pytest.mark.parametrize(
    ("model", "tier", "part"),
    [
        ("o3", "batch", "0.5"),
        ("claude-sonnet-4-5", "batch", "0.5"),
        ("gpt-5", "flex", "0.5"),
        ("gpt-5", "priority", "2"),
        ("gpt-5", "FLEX", "0.5"),
        ("gpt-5", "default", "1"),
        ("gpt-5", "auto", "1"),
        ("gpt-5", "ON_DEMAND_FLEX", "0.5"),  # Gemini's word; its list has no price for it yet
        ("gemini-2.5-pro", "batch", "0.5"),
    ],
)
def test_p9_batch_flex_and_priority_have_their_own_prices(model: str, tier: str, part: str) -> None:
    usage = Usage(input_uncached_tokens=10_000, output_tokens=1_000)
    usual = BOOK.cost(model, usage, at=AT)
    assert usual is not None
    assert BOOK.cost(model, usage, at=AT, tier=tier) == usual * Decimal(part)
    assert BOOK.cost(model, replace(usage, service_tier=tier), at=AT) == usual * Decimal(part)


def test_p9_a_tier_s_price_is_chosen_with_the_length_of_the_prompt() -> None:
    long = Usage(input_uncached_tokens=200_001, output_tokens=1_000)
    assert BOOK.cost("gemini-2.5-pro", long, at=AT, tier="batch") == 200_001 * Decimal(
        "0.00000125"
    ) + Decimal("0.0075")


def test_p9_the_tier_that_served_the_call_goes_before_the_one_that_was_asked_for() -> None:
    """A provider that is full serves a priority request at the usual speed, and bills it so."""
    served = Usage(input_uncached_tokens=1_000, service_tier="default")
    assert BOOK.cost("gpt-5", served, at=AT, tier="priority") == Decimal("0.00125")


def test_p9_the_record_says_whether_the_tier_had_a_price() -> None:
    usage = Usage(input_uncached_tokens=1)
    known, unknown = (BOOK.price(model, usage, at=AT, tier="flex").version for model in ("gpt-5", "gpt-4o"))
    assert known is not None
    assert known.endswith("openai:gpt-5 flex")
    assert unknown is not None
    assert unknown.endswith("openai:gpt-4o (no price for flex)")


def test_a_price_that_changes_with_the_clock_is_that_of_the_call() -> None:
    """DeepSeek's nights cost half: priced at the time of the report, every day's bill would differ."""
    usage = Usage(input_uncached_tokens=1_000_000)
    night, day = (AT.replace(hour=hour) for hour in (20, 10))
    assert (BOOK.cost("deepseek-chat", usage, at=night), BOOK.cost("deepseek-chat", usage, at=day)) == (
        Decimal("0.135"),
        Decimal("0.27"),
    )
    assert BOOK.cost("deepseek-chat", usage, at=day.replace(tzinfo=None)) == Decimal("0.27")


def test_a_price_cut_does_not_reach_back() -> None:
    usage = Usage(input_uncached_tokens=1_000_000)
    assert BOOK.cost("o3", usage, at=datetime(2025, 5, 1, tzinfo=UTC)) == 10
    assert BOOK.cost("o3", usage, at=AT) == 2


def test_the_record_says_which_list_and_which_of_its_models_made_the_price() -> None:
    version = BOOK.price("gpt-4o-2024-08-06", Usage(output_tokens=1)).version
    assert version is not None
    assert version.startswith("genai-prices ")
    assert version.endswith("openai:gpt-4o")


def test_prices_come_without_asking_anyone(request: pytest.FixtureRequest) -> None:
    disable_socket()
    request.addfinalizer(enable_socket)
    assert PriceBook().cost("gpt-4o", Usage(input_uncached_tokens=1_000)) == Decimal("0.0025")
    assert PriceBook().cost("never-heard-of", Usage(input_uncached_tokens=1)) is None


@pytest.mark.parametrize(
    ("usd", "nano"),
    [("0.0000000005", 0), ("0.0000000015", 2), (0.1, 100_000_000), ("1e-9", 1), (3, 3 * 10**9)],
)
def test_fractions_of_a_nano_dollar_round_half_to_even(usd: Any, nano: int) -> None:
    assert to_nano(usd) == nano


MODELS = ("claude-sonnet-4-5", "gpt-4o", "gpt-5-nano", "gemini-2.5-pro", "deepseek-chat")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MODELS), st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 5_000)
        ),
        max_size=50,
    )
)
def test_small_costs_add_up_to_the_nano_dollar(calls: list[tuple[str, int, int, int]]) -> None:
    priced = [
        BOOK.price(
            model, Usage(input_uncached_tokens=fresh, cache_read_tokens=read, output_tokens=reply), at=AT
        )
        for model, fresh, read, reply in calls
    ]
    in_dollars = sum((price.usd or Decimal(0) for price in priced), Decimal(0))
    assert to_usd(sum(price.nano_usd or 0 for price in priced)) == in_dollars


def test_a_million_calls_cost_what_their_decimals_sum_up_to() -> None:
    """A sum of floats is off by then; a month's bill must be the sum of its lines."""
    numbers = random.Random(9)
    usages = [
        Usage(
            input_uncached_tokens=numbers.randrange(20_000),
            cache_read_tokens=numbers.randrange(20_000),
            output_tokens=numbers.randrange(2_000),
        )
        for _ in range(1_000)
    ]
    lines = [BOOK.price(model, usage, at=AT) for model in MODELS for usage in usages]
    nano, dollars = 0, Decimal(0)
    for number in range(1_000_000):
        line = lines[number * 7 % len(lines)]
        assert line.nano_usd is not None
        nano += line.nano_usd
    for line in lines:
        dollars += (line.usd or Decimal(0)) * (1_000_000 // len(lines))
    assert to_usd(nano) == dollars
    assert nano > 10**12


@given(
    st.sampled_from(MODELS), st.lists(st.integers(0, 250_000), min_size=3, max_size=3), st.integers(0, 5_000)
)
def test_reading_from_the_cache_is_never_dearer_and_writing_to_it_never_cheaper(
    model: str, prompt: list[int], reply: int
) -> None:
    whole = sum(prompt)
    costs = [
        BOOK.price(model, usage, at=AT).nano_usd or 0
        for usage in (
            Usage(cache_read_tokens=whole, output_tokens=reply),
            Usage(input_uncached_tokens=whole, output_tokens=reply),
            Usage(cache_write_5m_tokens=whole, output_tokens=reply),
            Usage(cache_write_1h_tokens=whole, output_tokens=reply),
        )
    ]
    assert costs == sorted(costs)


@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**5))
def test_more_tokens_never_cost_less(model: str, prompt: int, reply: int, more: int) -> None:
    def nano(**counts: int) -> int:
        return BOOK.price(model, Usage(**counts), at=AT).nano_usd or 0

    base = nano(input_uncached_tokens=prompt, output_tokens=reply)
    assert nano(input_uncached_tokens=prompt + more, output_tokens=reply) >= base
    assert nano(input_uncached_tokens=prompt, output_tokens=reply + more) >= base
    assert nano(input_uncached_tokens=prompt, cache_read_tokens=more, output_tokens=reply) >= base


def test_a_price_takes_microseconds_of_the_agents_time() -> None:
    usage = Usage(input_uncached_tokens=1_000, cache_read_tokens=500, output_tokens=100)
    BOOK.price("claude-sonnet-4-5", usage, at=AT)
    per_call = min(
        timeit.repeat(lambda: BOOK.price("claude-sonnet-4-5", usage, at=AT), number=1_000, repeat=5)
    )
    assert per_call / 1_000 < 20e-6


def test_inventing_model_names_does_not_fill_the_memory() -> None:
    book = PriceBook()
    for number in range(5_000):
        book.cost(f"model-{number}", Usage())
    assert len(book._known) <= 4_096
