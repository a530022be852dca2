"""Half of all cost bugs are one token convention mixed with another. The same call must count the same."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core import PriceBook, Usage
from tokentrace_core.usage import CONVENTIONS, IMPLAUSIBLE_TOKENS, read_usage

GOLDEN = json.loads((Path(__file__).parent / "payloads" / "usage.json").read_text())
SHAPES = [
    pytest.param(convention, payload, case["expected"], id=f"{name}: {convention} {number}")
    for name, case in GOLDEN.items()
    for convention in CONVENTIONS
    for number, payload in enumerate(case.get(convention, ()))
]

conventions = st.sampled_from(sorted(CONVENTIONS))
names = st.sampled_from(
    sorted(
        {
            name
            for rule in CONVENTIONS.values()
            for paths in rule
            if isinstance(paths, tuple)
            for path in paths
            for name in path.split(".")
        }
    )
)
numbers = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.integers(0, 1_000) | st.text(max_size=3)
)
payloads = st.dictionaries(
    names, st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20)
)


@pytest.mark.parametrize(("convention", "payload", "expected"), SHAPES)
def test_p1_the_same_call_counts_the_same_in_whatever_shape_it_is_reported(
    convention: str, payload: dict[str, Any], expected: dict[str, int]
) -> None:
    usage = read_usage(convention, payload)
    assert usage is not None
    # Not every shape says for how long the cache was written.
    assert msgspec.structs.replace(usage, lifetime_unknown=False) == Usage(**expected)


@pytest.mark.parametrize(
    ("convention", "writes", "unknown"),
    [
        ("langchain", {"input_token_details": {"cache_creation": 10}}, True),
        ("langchain", {"input_token_details": {"cache_creation": 4, "ephemeral_5m_input_tokens": 6}}, True),
        ("langchain", {"input_token_details": {"cache_creation": 0, "ephemeral_1h_input_tokens": 10}}, False),
        ("anthropic", {"cache_creation_input_tokens": 10}, True),
        (
            "anthropic",
            {"cache_creation_input_tokens": 10, "cache_creation": {"ephemeral_5m_input_tokens": 10}},
            False,
        ),
        ("openai", {"prompt_tokens_details": {"cache_write_tokens": 10}}, False),
    ],
)
def test_writes_to_the_cache_that_are_not_split_by_lifetime_are_marked(
    convention: str, writes: dict[str, Any], unknown: bool
) -> None:
    usage = read_usage(convention, {"input_tokens": 100, "output_tokens": 1, **writes})
    assert usage is not None
    assert usage.cache_write_5m_tokens + usage.cache_write_1h_tokens == 10
    assert usage.lifetime_unknown == unknown


def test_p2_what_anthropic_caches_is_part_of_the_prompt_and_has_its_own_prices() -> None:
    case = GOLDEN["the call of agentops#1445: 5 fresh, 128,955 read, 1,253 written for five minutes"]
    usage = read_usage("anthropic", case["anthropic"][0])
    assert usage is not None
    assert usage.input_tokens == 130_213
    price, reply = Decimal(3) / 1_000_000, Decimal(15) / 1_000_000
    cost = 5 * price + 128_955 * price / 10 + 1_253 * price * Decimal("1.25") + 50 * reply
    assert PriceBook().cost("claude-3-7-sonnet-latest", usage) == round(cost, 9)


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
@pytest.mark.parametrize("payload", [None, {}, {"input_tokens": 0, "prompt_tokens": 0, "output_tokens": 0}])
def test_a_silent_provider_is_not_taken_for_one_that_reported_zero(
    convention: str, payload: dict[str, Any] | None
) -> None:
    assert read_usage(convention, payload) is None


def test_a_prompt_served_wholly_from_the_cache_is_not_taken_for_silence() -> None:
    usage = read_usage("anthropic", {"input_tokens": 0, "cache_read_input_tokens": 9_000, "output_tokens": 0})
    assert usage == Usage(cache_read_tokens=9_000)


@pytest.mark.parametrize(
    "garbage", [float("nan"), float("inf"), "12", True, 2**63, -1, [3], {"n": 3}, IMPLAUSIBLE_TOKENS + 1]
)
@pytest.mark.parametrize("place", ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"])
def test_a_figure_that_cannot_be_is_left_out_and_flagged(garbage: Any, place: str) -> None:
    payload: dict[str, Any] = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    for part in (payload, payload["prompt_tokens_details"], payload["completion_tokens_details"]):
        if place in part:
            part[place] = garbage
    usage = read_usage("openai", payload)
    assert usage is not None
    assert usage.inconsistent
    assert _counters(usage) <= {100, 70, 30, 20, 5, 0}


def test_parts_that_exceed_the_whole_are_cut_to_it_and_flagged() -> None:
    usage = read_usage(
        "openai",
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}},
    )
    assert usage == Usage(cache_read_tokens=10, output_tokens=5, inconsistent=True)


@given(conventions, payloads)
def test_no_report_whatever_raises_or_makes_a_negative_or_impossible_count(
    convention: str, payload: dict[str, Any]
) -> None:
    usage = read_usage(convention, payload)
    if usage is not None:
        assert min(_counters(usage)) >= 0
        assert usage.reasoning_tokens <= usage.output_tokens <= IMPLAUSIBLE_TOKENS
        assert usage.total_tokens < 2**63


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_where_the_total_includes_the_cache_the_parts_add_up_to_it(
    total: int, read: int, five_minutes: int, hour: int
) -> None:
    details = {
        "cache_read": read,
        "ephemeral_5m_input_tokens": five_minutes,
        "ephemeral_1h_input_tokens": hour,
    }
    usage = read_usage(
        "langchain", {"input_tokens": total, "output_tokens": 1, "input_token_details": details}
    )
    assert usage is not None
    assert usage.input_tokens == total
    assert usage.inconsistent == (read + five_minutes + hour > total)


def _counters(usage: Usage) -> set[int]:
    return {
        usage.input_uncached_tokens,
        usage.cache_read_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    }
