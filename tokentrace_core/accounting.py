"""From an ended call to its figures: usage (reported or estimated), price, and the totals above it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tokentrace_core.open_spans import Loop, Node
from tokentrace_core.payload import canonical_json
from tokentrace_core.price_list import tier_of
from tokentrace_core.pricing import CACHED, FREE, UNPRICED, PriceBook, Priced, estimate_tokens
from tokentrace_core.prompts import Message
from tokentrace_core.shield import log_once
from tokentrace_core.snapshot import utf8_size
from tokentrace_core.spans import LLMCall
from tokentrace_core.usage import Usage


def estimated_usage(node: Node, call: LLMCall, message: Message | None) -> Usage:
    """Usage by size, for a call whose provider reported none. Marked as estimated."""
    prompt = (node.sent.leaf.size if node.sent else 0) + (call.tools.size if call.tools else 0)
    return Usage(
        input_uncached_tokens=estimate_tokens(prompt),
        output_tokens=estimate_tokens(_reply_bytes(message)),
        source="estimated",
    )


def price_of(
    prices: PriceBook,
    call: LLMCall,
    usage: Usage | None,
    *,
    cached: bool,
    billed: bool,
) -> Priced:
    """The price of a call: by the model that answered, else by the one that was asked."""
    if cached:
        return CACHED
    if not billed or usage is None:
        return FREE
    at = datetime.fromtimestamp(call.started_at / 1_000_000, UTC)
    tier = call.params.get("service_tier")
    try:
        return prices.price_call(
            call.model,
            call.model_answered,
            usage,
            provider=call.provider,
            at=at,
            tier=tier if isinstance(tier, str) else None,
        )
    except Exception as error:
        log_once("a call could not be priced", error)
        return UNPRICED


def believed(call: LLMCall, usage: Usage | None) -> Usage | None:
    """A report of nothing is none: some clients fill in zeros where the provider was silent.

    Unless it is one of several prompts in one request, all of which are counted at the first.
    """
    silent = usage is not None and not usage.total_tokens and "batch_size" not in call.params
    return None if silent else usage


def with_lifetime(call: LLMCall, usage: Usage) -> Usage:
    """Cache writes of unknown lifetime are for an hour if that is what the request asked for."""
    if not usage.lifetime_unknown or call.params.get("cache_ttl") != "1h":
        return usage
    return msgspec.structs.replace(
        usage,
        cache_write_5m_tokens=0,
        cache_write_1h_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
    )


def write_usage(call: LLMCall, usage: Usage | None, price: Priced, *, cached: bool) -> None:
    """Put the figures on the span. Tokens that a local cache saved are a note, not usage."""
    call.cost_nano_usd, call.cost_status, call.price_version = price
    if cached:
        call.attributes["tokens_saved"] = usage.total_tokens if usage else 0
        usage = Usage()
    if usage is None:
        return
    call.input_uncached_tokens = usage.input_uncached_tokens
    call.cache_read_tokens = usage.cache_read_tokens
    call.cache_write_5m_tokens = usage.cache_write_5m_tokens
    call.cache_write_1h_tokens = usage.cache_write_1h_tokens
    call.output_tokens = usage.output_tokens
    call.reasoning_tokens = usage.reasoning_tokens
    call.input_audio_tokens = usage.input_audio_tokens or None
    call.output_audio_tokens = usage.output_audio_tokens or None
    call.web_searches = usage.web_searches or None
    call.usage_source = usage.source
    _note_tier(call, usage.service_tier)
    if usage.inconsistent:
        call.attributes["usage_inconsistent"] = True


def _note_tier(call: LLMCall, served: str | None) -> None:
    """Keep the tier that priced the call, where the request does not say the same."""
    if served is None:
        return
    tier = tier_of(served)
    if tier != tier_of(str(call.params.get("service_tier"))):
        call.attributes["service_tier"] = tier or "default"


def charge(node: Node, nano_usd: int) -> None:
    """Add a cost to the run and to every agent loop round the call."""
    node.run.root.cost_nano_usd += nano_usd
    loop: Loop | None = node.loop
    while loop is not None:
        loop.cost_nano_usd += nano_usd
        loop = loop.parent


def _reply_bytes(message: Message | None) -> int:
    if not message:
        return 0
    content = message.get("content")
    text = content if isinstance(content, str) else canonical_json(content) if content else ""
    calls = message.get("tool_calls")
    return utf8_size(text) + (len(canonical_json(calls)) if calls else 0)
