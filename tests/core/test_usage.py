"""Half of all cost bugs are one token convention mixed with another. The same call must count the same."""

from __future__ import annotations

import importlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core import PriceBook, Usage
from tokentrace_core.conventions import CONVENTIONS, SOURCES
from tokentrace_core.replies import read_reply
from tokentrace_core.streamed_replies import StreamedReply
from tokentrace_core.usage import IMPLAUSIBLE_TOKENS, read_any_usage, read_usage

PAYLOADS = Path(__file__).parent / "payloads" / "usage"
EXPECTED = json.loads((PAYLOADS / "expected.json").read_text())
FILES = {
    path.stem: json.loads(path.read_text()) for path in PAYLOADS.glob("*.json") if path.stem != "expected"
}
#: What a provider itself sends, which LlamaIndex hands on as it comes.
RAW = ("openai", "anthropic", "gemini", "bedrock", "litellm", "ollama")
GOLDEN = [
    pytest.param(source, payload, EXPECTED[case]["usage"], id=f"{case}: {name} {number} as {source}")
    for name, file in FILES.items()
    for source in (file["source"], *(["any"] if file["source"] in RAW else []))
    for case, payloads in file["cases"].items()
    for number, payload in enumerate(payloads)
]

sources = st.sampled_from(sorted(SOURCES))
names = st.sampled_from(
    sorted(
        {
            name
            for rule in CONVENTIONS.values()
            for paths in rule
            if isinstance(paths, tuple)
            for path in paths
            for name in re.split(r"[.\[\]=]", path)
        }
    )
)
numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.integers(0, 1_000) | names
payloads = st.dictionaries(
    names, st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20)
)


@pytest.mark.parametrize(("source", "payload", "expected"), GOLDEN)
def test_p1_the_same_call_counts_the_same_in_whatever_shape_it_is_reported(
    source: str, payload: dict[str, Any], expected: dict[str, int]
) -> None:
    usage = read_usage(source, payload)
    assert usage is not None
    # Not every shape says for how long the cache was written, or at which tier the call was served.
    assert msgspec.structs.replace(usage, lifetime_unknown=False, service_tier=None) == Usage(**expected)


def test_p1_the_same_call_costs_the_same_in_whatever_shape_it_is_reported() -> None:
    """Else the month's bill depends on which framework made the calls."""
    usages = [
        read_usage(file["source"], payload)
        for file in FILES.values()
        for payload in file["cases"].get("cached", ())
    ]
    assert len(usages) >= 20
    prices = {usage and PriceBook().cost("claude-sonnet-4-5", usage) for usage in usages}
    assert prices == {86 * Decimal("0.000003") + 17_817 * Decimal("0.0000003") + 100 * Decimal("0.000015")}


def test_every_source_has_a_payload_of_its_own_client() -> None:
    assert {file["source"] for file in FILES.values()} | {"any"} == set(SOURCES)


@pytest.mark.parametrize(
    ("client", "path", "name"),
    [
        ("openai.types", "CompletionUsage", "openai-chat"),
        ("openai.types.responses", "ResponseUsage", "openai-responses"),
    ],
)
def test_golden_payloads_are_what_the_clients_really_make(client: str, path: str, name: str) -> None:
    """Else the table is tested against our own idea of the wire."""
    model = getattr(importlib.import_module(client), path)
    for payload in (payload for payloads in FILES[name]["cases"].values() for payload in payloads):
        model.model_validate(payload)
        known = set(model.model_fields) | {field.alias for field in model.model_fields.values()}
        assert set(payload) <= known


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
        ("openai", {"input_tokens_details": {"cache_write_tokens": 10}}, False),
        # litellm and OpenRouter hand Anthropic's writes through in this counter
        ("litellm", {"prompt_tokens": 100, "prompt_tokens_details": {"cache_write_tokens": 10}}, True),
        ("crewai", {"cache_creation_tokens": 10}, True),
        ("bedrock", {"inputTokens": 90, "cacheWriteInputTokens": 10}, True),
        (
            "langchain",
            {"input_token_details": {"cache_creation": 10, "ephemeral_1h_input_tokens": 10}},
            False,
        ),
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
    usage = read_usage("anthropic", FILES["anthropic"]["cases"]["written"][0])
    assert usage is not None
    assert usage.input_tokens == 130_213
    price, reply = Decimal(3) / 1_000_000, Decimal(15) / 1_000_000
    cost = 5 * price + 128_955 * price / 10 + 1_253 * price * Decimal("1.25") + 50 * reply
    assert PriceBook().cost("claude-3-7-sonnet-latest", usage) == round(cost, 9)


@pytest.mark.parametrize("convention", sorted(SOURCES))
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


@given(sources, payloads)
def test_no_report_whatever_raises_or_makes_a_negative_or_impossible_count(
    convention: str, payload: dict[str, Any]
) -> None:
    usage = read_usage(convention, payload)
    if usage is not None:
        assert min(_counters(usage)) >= 0
        assert usage.reasoning_tokens <= usage.output_tokens <= 2 * IMPLAUSIBLE_TOKENS
        assert usage.input_audio_tokens <= usage.input_tokens
        assert usage.output_audio_tokens <= usage.output_tokens
        assert usage.total_tokens < 2**63


@pytest.mark.parametrize(
    ("source", "payload"),
    [
        ("openai", {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 500}),
        ("anthropic", {"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 3}
         | {"cache_creation": {"ephemeral_5m_input_tokens": 5}}),
        ("bedrock", {"inputTokens": 10, "outputTokens": 1, "totalTokens": 99}),
        ("openai", {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 10}}),
    ],
)  # fmt: skip
def test_figures_that_contradict_each_other_are_flagged(source: str, payload: dict[str, Any]) -> None:
    usage = read_usage(source, payload)
    assert usage is not None
    assert usage.inconsistent


def test_gemini_charges_what_its_tools_read_as_prompt_and_not_as_reply() -> None:
    """A real report (new-api#2935): taken for output, these 18,329 tokens cost eight times as much."""
    payload = {"promptTokenCount": 151, "candidatesTokenCount": 1089, "totalTokenCount": 20_689}
    usage = read_usage("gemini", payload | {"toolUsePromptTokenCount": 18_329, "thoughtsTokenCount": 1_120})
    assert usage == Usage(input_uncached_tokens=18_480, output_tokens=2_209, reasoning_tokens=1_120)


@pytest.mark.parametrize(
    ("source", "payload", "tier"),
    [
        ("openai", {"prompt_tokens": 1, "completion_tokens": 1}, None),
        ("anthropic", {"input_tokens": 1, "output_tokens": 1, "service_tier": "batch"}, "batch"),
        (
            "anthropic",
            {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard", "speed": "fast"},
            "fast",
        ),
        ("gemini", {"promptTokenCount": 1, "trafficType": "ON_DEMAND_FLEX"}, "ON_DEMAND_FLEX"),
        ("langchain", {"input_tokens": 1, "output_tokens": 1, "output_token_details": {"flex": 1}}, "flex"),
    ],
)
def test_p9_how_fast_a_call_was_served_is_read_where_the_report_says_so(
    source: str, payload: dict[str, Any], tier: str | None
) -> None:
    usage = read_usage(source, payload)
    assert usage is not None
    assert usage.service_tier == tier


CACHED = Usage(**EXPECTED["cached"]["usage"])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            {"candidates": [], "modelVersion": "gemini-2.5-pro", "usageMetadata": ("gemini", "cached", 0)},
            CACHED,
        ),
        (
            {"candidates": [], "model_version": "gemini-2.5-pro", "usage_metadata": ("gemini", "cached", 1)},
            CACHED,
        ),
        ({"output": {"message": {}}, "stopReason": "end_turn", "usage": ("bedrock", "cached", 0)}, CACHED),
        ({"choices": [], "usage": ("litellm", "cached", 0)}, CACHED),
        (FILES["ollama"]["cases"]["plain"][0], Usage(**EXPECTED["plain"]["usage"])),
    ],
)
def test_usage_is_found_in_the_replies_of_clients_that_are_called_directly(
    reply: dict[str, Any], expected: Usage
) -> None:
    """Else a call made without a framework is estimated though its provider told the figures."""
    for place, value in reply.items():
        if isinstance(value, tuple):
            file, case, number = value
            reply = {**reply, place: FILES[file]["cases"][case][number]}
    assert read_reply(reply).usage == expected


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": [], "service_tier": "flex", "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"object": "response", "service_tier": "flex", "usage": {"input_tokens": 1, "output_tokens": 1}},
        {"output": {"message": {}}, "usage": {"inputTokens": 1}, "serviceTier": {"type": "flex"}},
    ],
)
def test_p9_the_tier_that_a_reply_names_beside_its_usage_is_kept_with_it(reply: dict[str, Any]) -> None:
    usage = read_reply(reply).usage
    assert usage is not None
    assert usage.service_tier == "flex"


def test_a_report_of_unknown_convention_is_read_where_it_is() -> None:
    assert read_any_usage(None, "x", {}, {"inputTokens": 3}) == Usage(input_uncached_tokens=3)
    assert read_any_usage({"cost": 1.0}) is None


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


def test_p9_the_tier_of_a_streamed_reply_is_kept_with_its_usage() -> None:
    stream = StreamedReply()
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    stream.feed({"object": "chat.completion.chunk", "choices": [], "service_tier": "flex", "usage": usage})
    reported = stream.reply.usage
    assert reported is not None
    assert reported.service_tier == "flex"
