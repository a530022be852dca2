"""A second source: what others list for the models that most calls go to. A difference must have a reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import PriceBook, Usage

LISTED = json.loads((Path(__file__).parent / "payloads" / "list_prices.json").read_text())
BOOK = PriceBook()
#: By day: DeepSeek's night is cheaper.
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
COUNTERS = {
    "input": "input_uncached_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
}


def per_million(model: str, counter: str) -> Decimal | None:
    """What tokens cost; without what Perplexity takes for the request."""
    one, two = (BOOK.cost(model, Usage(**{counter: tokens}), at=AT) for tokens in (1_000, 2_000))
    return None if one is None or two is None else (two - one) * 1_000


@pytest.mark.parametrize("listed", LISTED["models"], ids=lambda listed: listed["model"])
def test_a_popular_model_costs_what_a_second_source_says_or_there_is_a_reason(listed: dict[str, Any]) -> None:
    ours = {
        name: per_million(listed["model"], counter) for name, counter in COUNTERS.items() if name in listed
    }
    theirs = {name: Decimal(listed[name]) for name in ours}
    different = {
        name: f"{price.normalize():f}" for name, price in ours.items() if price != theirs[name] and price
    }
    assert None not in ours.values()
    assert different == listed.get("ours", {})
    assert bool(different) == bool(listed.get("why"))
    assert listed["source"] in LISTED["sources"]


def test_the_popular_models_are_all_here() -> None:
    assert len(LISTED["models"]) >= 36
    agreeing = [listed for listed in LISTED["models"] if "why" not in listed]
    assert len(agreeing) / len(LISTED["models"]) > 0.9


@pytest.mark.parametrize(
    ("model", "provider", "matched"),
    [
        ("openai/gpt-4o", None, "openai:gpt-4o"),
        ("openai:gpt-4o", None, "openai:gpt-4o"),
        ("azure/gpt-4o", None, "azure:gpt-4o"),
        ("gpt-4o-2024-08-06", "openai", "openai:gpt-4o"),
        ("gpt-4o", "azure_openai", "openai:gpt-4o"),
        ("gpt-4o", "litellm", "openai:gpt-4o"),
        (" GPT-4o ", None, "openai:gpt-4o"),
        ("gpt-5.2-20251211", None, "openai:gpt-5.2"),
        ("text-embedding-3-small", None, "openai:text-embedding-3-small"),
        ("models/gemini-2.5-pro", None, "google:gemini-2.5-pro"),
        ("publishers/google/models/gemini-2.5-pro", None, "google:gemini-2.5-pro"),
        ("google_genai:gemini-2.5-pro", None, "google:gemini-2.5-pro"),
        ("vertex_ai/claude-sonnet-4-5@20250929", None, "google:claude-sonnet-4-5"),
        ("claude-sonnet-4-5:thinking", None, "anthropic:claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", None, "anthropic:claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4.5", None, "openrouter:anthropic/claude-sonnet-4.5"),
        ("openrouter/anthropic/claude-sonnet-4.5:thinking", None, "openrouter:anthropic/claude-sonnet-4.5"),
        (
            "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            None,
            "aws:regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        (
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            None,
            "aws:regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("converse/us.amazon.nova-pro-v1:0", None, "aws:amazon.nova-pro-v1:0"),
    ],
)
def test_p8_a_model_is_known_under_the_names_that_gateways_give_it(
    model: str, provider: str | None, matched: str
) -> None:
    """litellm#35913: 37 million tokens at a prefix that nobody knew were logged as a dollar."""
    version = BOOK.price(model, Usage(input_uncached_tokens=1), provider=provider).version
    assert version is not None
    assert version.endswith(f" {matched}")
