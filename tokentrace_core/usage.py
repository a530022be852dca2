"""What a call used, in one convention, whoever reports it.

Half of all cost bugs are one token convention mixed with another: LangChain and OpenAI report an input that
*includes* what came from the cache, Anthropic's own API *excludes* it, and a stream may name a counter that
the plain answer leaves out. So each source's convention is one row of `CONVENTIONS`, and everything after
this module sees only `Usage`: disjoint counters whose sum is the whole prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

UsageSource = Literal["reported", "estimated", "missing"]

#: More tokens than any model takes in one request; a figure above it is a fault of the sender, and would
#: overflow the database's 64-bit integers.
IMPLAUSIBLE_TOKENS = 10**12


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one call. The first four counters are disjoint and add up to the whole prompt."""

    input_uncached_tokens: int = 0
    """Prompt tokens billed at the full input price."""
    cache_read_tokens: int = 0
    """Prompt tokens served from the provider's cache."""
    cache_write_5m_tokens: int = 0
    """Prompt tokens written to the cache for five minutes (or for the provider's only lifetime)."""
    cache_write_1h_tokens: int = 0
    """Prompt tokens written to the cache for an hour."""
    output_tokens: int = 0
    """All generated tokens, reasoning included."""
    reasoning_tokens: int = 0
    """The part of `output_tokens` that was reasoning. Never added to it."""
    source: UsageSource = "reported"
    lifetime_unknown: bool = False
    """The source did not say for how long it wrote to the cache; five minutes is the usual."""
    inconsistent: bool = False
    """The sender's figures contradict each other; the nearest consistent reading is kept."""

    @property
    def input_tokens(self) -> int:
        """The whole prompt: uncached, read from the cache and written to it."""
        return (
            self.input_uncached_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and reply together."""
        return self.input_tokens + self.output_tokens


class Convention(NamedTuple):
    """Where one source keeps each counter. Several paths: for `writes` their sum, else the first present."""

    input: tuple[str, ...]
    input_includes_cache: bool
    output: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes_5m: tuple[str, ...] = ()
    writes_1h: tuple[str, ...] = ()
    writes_total: tuple[str, ...] = ()
    """The sum of all writes, where the source gives it beside (or instead of) the parts."""
    writes_unsplit: tuple[str, ...] = ()
    """Writes whose lifetime the source does not tell, beside the others."""
    reasoning: tuple[str, ...] = ()


CONVENTIONS: dict[str, Convention] = {
    # `usage_metadata` of an AIMessage. A plain Anthropic answer has its writes under ephemeral_* and
    # cache_creation 0; a streamed one has only cache_creation: hence their sum.
    "langchain": Convention(
        input=("input_tokens",),
        input_includes_cache=True,
        output=("output_tokens",),
        reads=("input_token_details.cache_read",),
        writes_5m=("input_token_details.ephemeral_5m_input_tokens",),
        writes_1h=("input_token_details.ephemeral_1h_input_tokens",),
        writes_unsplit=("input_token_details.cache_creation",),
        reasoning=("output_token_details.reasoning",),
    ),
    # Chat Completions and Responses: the two spellings never occur together.
    "openai": Convention(
        input=("prompt_tokens", "input_tokens"),
        input_includes_cache=True,
        output=("completion_tokens", "output_tokens"),
        reads=("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
        writes_5m=("prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens"),
        reasoning=(
            "completion_tokens_details.reasoning_tokens",
            "output_tokens_details.reasoning_tokens",
        ),
    ),
    "anthropic": Convention(
        input=("input_tokens",),
        input_includes_cache=False,
        output=("output_tokens",),
        reads=("cache_read_input_tokens",),
        writes_5m=("cache_creation.ephemeral_5m_input_tokens",),
        writes_1h=("cache_creation.ephemeral_1h_input_tokens",),
        writes_total=("cache_creation_input_tokens",),
    ),
    # `LLMCallCompletedEvent.usage`, in three shapes whose spellings never occur together: CrewAI's own for OpenAI
    # (prompt_tokens, cached_prompt_tokens), its own for Anthropic (input_tokens, which here includes the cache),
    # and the nested one of Chat Completions, which litellm hands through.
    "crewai": Convention(
        input=("prompt_tokens", "input_tokens"),
        input_includes_cache=True,
        output=("completion_tokens", "output_tokens"),
        reads=("cached_prompt_tokens", "prompt_tokens_details.cached_tokens"),
        writes_5m=("cache_creation_tokens", "prompt_tokens_details.cache_write_tokens"),
        reasoning=("reasoning_tokens", "completion_tokens_details.reasoning_tokens"),
    ),
}


def read_usage(convention: str, payload: Mapping[str, Any] | None) -> Usage | None:
    """Read a source's usage report. None when it reports nothing; never raises, never negative.

    `payload` is plain nested mappings, as the source sends them. A detail that contradicts the totals (more
    read from the cache than there was prompt) is kept within them and marked `inconsistent`.
    """
    if not payload:
        return None
    rule = CONVENTIONS[convention]
    figures = _Figures(payload)
    total_input, output = figures.first(rule.input), figures.first(rule.output)
    reads = figures.first(rule.reads) or 0
    writes_5m, writes_1h = figures.sum(rule.writes_5m), figures.sum(rule.writes_1h)
    unsplit = max((figures.first(rule.writes_total) or 0) - writes_5m - writes_1h, 0)
    unsplit += figures.sum(rule.writes_unsplit)
    writes_5m += unsplit
    beside = 0 if rule.input_includes_cache else reads + writes_5m + writes_1h
    if not total_input and not output and not beside:
        return None  # some clients fill in zeros where the provider was silent
    uncached = total_input or 0
    if rule.input_includes_cache:
        uncached -= reads + writes_5m + writes_1h
        if uncached < 0:
            figures.faulty = True
            reads, writes_5m, writes_1h = _fit(total_input or 0, reads, writes_5m, writes_1h)
            uncached = 0
    reasoning = figures.first(rule.reasoning) or 0
    return Usage(
        input_uncached_tokens=uncached,
        cache_read_tokens=reads,
        cache_write_5m_tokens=writes_5m,
        cache_write_1h_tokens=writes_1h,
        output_tokens=output or 0,
        reasoning_tokens=min(reasoning, output or 0),
        lifetime_unknown=unsplit > 0,
        inconsistent=figures.faulty or reasoning > (output or 0),
    )


def read_any_usage(*payloads: object) -> Usage | None:
    """Read a provider's raw report of unknown convention: the first of these places that holds one.

    Anthropic alone names its cache counters beside the input; all others follow OpenAI.
    """
    for payload in payloads:
        if isinstance(payload, Mapping):
            convention = "anthropic" if "cache_read_input_tokens" in payload else "openai"
            if (usage := read_usage(convention, payload)) is not None:
                return usage
    return None


class _Figures:
    """Reads counts from a payload and remembers whether any of them was impossible."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload
        self.faulty = False

    def first(self, paths: tuple[str, ...]) -> int | None:
        """The first figure present. A true 0 counts as present."""
        for path in paths:
            if (count := self._count(path)) is not None:
                return count
        return None

    def sum(self, paths: tuple[str, ...]) -> int:
        return sum([self._count(path) or 0 for path in paths])

    def _count(self, path: str) -> int | None:
        value: Any = self._payload
        for name in _names(path):
            if type(value) is not dict and not isinstance(value, Mapping):
                return None
            value = value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.faulty = True
            return None
        if not 0 <= value <= IMPLAUSIBLE_TOKENS:  # also NaN, which compares false
            self.faulty = True
            return None
        return int(value)


@cache
def _names(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _fit(total: int, *parts: int) -> list[int]:
    """Keep the parts, in order, as far as the total allows."""
    kept = []
    for part in parts:
        kept.append(min(part, total))
        total -= kept[-1]
    return kept
