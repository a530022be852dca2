"""A bill is checked to the last digit; a price that is not known must never look like one that is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_socket import disable_socket, enable_socket

from tokentrace_core import ModelPrice, PriceBook, Usage
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


@pytest.mark.parametrize("model", ["foo-9", "gpt-4o-zzz", "", None, "a/b/c", "\ud800"])
def test_p8_a_model_without_a_price_costs_unknown_and_never_nothing(model: str | None) -> None:
    priced = BOOK.price(model, Usage(input_uncached_tokens=1_000))
    assert (priced.usd, priced.nano_usd, priced.status, priced.version) == (None, None, "unpriced", None)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("openai/gpt-4o", None),
        ("azure/gpt-4o", None),
        ("gpt-4o-2024-08-06", "openai"),
        ("gpt-4o", "azure_openai"),
        ("gpt-4o", "litellm"),
        ("openrouter/openai/gpt-4o", None),
    ],
)
def test_p8_a_model_is_known_under_the_names_that_gateways_give_it(model: str, provider: str | None) -> None:
    assert BOOK.cost(model, Usage(input_uncached_tokens=1_000), provider=provider) == Decimal("0.0025")


def test_the_record_says_which_list_and_which_of_its_models_made_the_price() -> None:
    version = BOOK.price("gpt-4o-2024-08-06", Usage(output_tokens=1)).version
    assert version is not None
    assert version.startswith("genai-prices ")
    assert version.endswith("openai:gpt-4o")


def test_your_own_price_goes_before_the_list_and_is_marked_as_yours() -> None:
    book = PriceBook({"GPT-4o": ModelPrice(input=1, output="2.5"), "local": ModelPrice(input=0, output=0)})
    usage = Usage(
        input_uncached_tokens=1_000,
        cache_read_tokens=1_000,
        cache_write_5m_tokens=1_000,
        cache_write_1h_tokens=1_000,
        output_tokens=1_000,
    )
    own = book.price("gpt-4O", usage)
    assert (own.status, own.usd) == ("override", Decimal("0.001") * Decimal("1") * Decimal("6.85"))
    assert (book.price("local", usage).status, book.price("local", usage).nano_usd) == ("free", 0)
    assert book.price("gpt-4o-mini", usage).status == "priced"


def test_your_own_cache_prices_are_used_where_you_name_them() -> None:
    price = ModelPrice(input=1, output=1, cache_read="0.5", cache_write_5m=0, cache_write_1h=3)
    usage = Usage(cache_read_tokens=10, cache_write_5m_tokens=10, cache_write_1h_tokens=10)
    assert PriceBook({"m": price}).cost("m", usage) == Decimal("0.000035")


def test_prices_come_without_asking_anyone(request: pytest.FixtureRequest) -> None:
    disable_socket()
    request.addfinalizer(enable_socket)
    assert PriceBook().cost("gpt-4o", Usage(input_uncached_tokens=1_000)) == Decimal("0.0025")
    assert PriceBook().cost("never-heard-of", Usage(input_uncached_tokens=1)) is None


def test_an_estimate_counts_four_bytes_as_a_token_and_expects_a_usual_reply() -> None:
    assert BOOK.estimate_cost("gpt-4o", 1_000, 100) == Decimal("0.0035")
    assert BOOK.estimate_cost("gpt-4o", "x" * 4_000, 100) == Decimal("0.0035")
    assert BOOK.estimate_cost("gpt-4o", "x" * 3_997, 100) == Decimal("0.0035")
    assert BOOK.estimate_cost("gpt-4o", "é" * 2_000) == Decimal("0.0025") + Decimal("0.00256")
    assert BOOK.estimate_cost("foo-9", "hello") is None
    assert BOOK.estimate_cost("gpt-4o", "\ud800", 0) == Decimal("0.0000025")


def test_the_context_window_is_known_where_the_list_says_so() -> None:
    assert BOOK.context_window("gpt-4o") == 128_000
    assert BOOK.context_window("foo-9") is None


@pytest.mark.parametrize(
    ("usd", "nano"),
    [("0.0000000005", 0), ("0.0000000015", 2), (0.1, 100_000_000), ("1e-9", 1), (3, 3 * 10**9)],
)
def test_fractions_of_a_nano_dollar_round_half_to_even(usd: Any, nano: int) -> None:
    assert to_nano(usd) == nano


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 5_000)), max_size=50))
@settings(deadline=None)
def test_a_thousand_small_costs_add_up_to_the_nano_dollar(calls: list[tuple[int, int]]) -> None:
    usages = [Usage(input_uncached_tokens=prompt, output_tokens=reply) for prompt, reply in calls]
    priced = [BOOK.price("claude-sonnet-4-5", usage, at=AT) for usage in usages]
    in_dollars = sum((price.usd or Decimal(0) for price in priced), Decimal(0))
    assert to_usd(sum(price.nano_usd or 0 for price in priced)) == in_dollars


def test_inventing_model_names_does_not_fill_the_memory() -> None:
    book = PriceBook()
    for number in range(5_000):
        book.cost(f"model-{number}", Usage())
    assert len(book._known) <= 4_096
