"""What a call used, in one convention, whoever reports it.

Half of all cost bugs are one token convention mixed with another: LangChain and OpenAI report an input that
*includes* what came from the cache, Anthropic's own API *excludes* it, and a stream may name a counter that
the plain answer leaves out. So each source's convention is data (`conventions`), and everything after this module
sees only `Usage`: disjoint counters whose sum is the whole prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from tokentrace_core.conventions import CONVENTIONS, SOURCES, Convention, Paths

UsageSource = Literal["reported", "estimated", "missing"]

#: More tokens than any model takes in one request; a figure above it is a fault of the sender, and would
#: overflow the database's 64-bit integers.
IMPLAUSIBLE_TOKENS = 10**12
_USUAL_TIERS = frozenset({"standard", "default", "auto"})


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
    input_audio_tokens: int = 0
    """The part of the prompt that was sound, which some models charge at a price of its own."""
    output_audio_tokens: int = 0
    """The part of `output_tokens` that was sound."""
    web_searches: int = 0
    """Searches that the provider made during the call and charges by the piece."""
    service_tier: str | None = None
    """How fast the provider says it served the call, in its own word: priority, flex, batch, standard."""
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


def read_usage(source: str, payload: Mapping[str, Any] | None) -> Usage | None:
    """Read a source's usage report. None when it reports nothing; never raises, never negative.

    `source`: a key of `SOURCES`. `payload` is plain nested mappings, as the source sends them. What contradicts
    itself (more read from the cache than there was prompt, a total that is no sum) is brought to the nearest
    reading that does not, and marked `inconsistent`.
    """
    if not payload:
        return None
    rule = _shape(source, payload)
    figures = _Figures(payload)
    told = figures.first(rule.input), figures.first(rule.output)
    reads = figures.first(rule.reads) or 0
    writes_5m, writes_1h, unsplit = _writes(rule, figures)
    cached = reads + writes_5m + writes_1h
    if not any(told) and (rule.input_includes_cache or not cached):
        return None  # some clients fill in zeros where the provider was silent
    prompt = (told[0] or 0) + figures.sum(rule.input_beside)
    uncached = prompt - cached if rule.input_includes_cache else prompt
    if uncached < 0:
        figures.faulty = True
        reads, writes_5m, writes_1h = _fit(prompt, reads, writes_5m, writes_1h)
        uncached = 0
    prompt = uncached + reads + writes_5m + writes_1h
    output, reasoning = _reply(rule, figures, told[1] or 0, {prompt, uncached})
    return Usage(
        input_uncached_tokens=uncached,
        cache_read_tokens=reads,
        cache_write_5m_tokens=writes_5m,
        cache_write_1h_tokens=writes_1h,
        output_tokens=output,
        reasoning_tokens=reasoning,
        input_audio_tokens=figures.part(rule.input_audio, prompt),
        output_audio_tokens=figures.part(rule.output_audio, output),
        web_searches=figures.first(rule.web_searches) or 0,
        service_tier=figures.tier(rule),
        lifetime_unknown=unsplit > 0,
        inconsistent=figures.faulty,
    )


def read_any_usage(*payloads: object) -> Usage | None:
    """Read a provider's raw report of unknown convention: the first of these places that holds one."""
    for payload in payloads:
        if isinstance(payload, Mapping) and (usage := read_usage("any", payload)) is not None:
            return usage
    return None


def _shape(source: str, payload: Mapping[str, Any]) -> Convention:
    """The first of the source's shapes by whose keys the payload can be known; else its last."""
    shapes = SOURCES[source]
    for name in shapes[:-1]:
        rule = CONVENTIONS[name]
        if any(mark in payload for mark in rule.known_by):
            return rule
    return CONVENTIONS[shapes[-1]]


def _writes(rule: Convention, figures: _Figures) -> tuple[int, int, int]:
    """What was written to the cache for five minutes and for an hour, and how much of that is not certain."""
    five_minutes, hour = figures.first(rule.writes_5m) or 0, figures.first(rule.writes_1h) or 0
    parts = five_minutes + hour
    unsplit = figures.sum(rule.writes_unsplit)
    if parts and unsplit == parts:
        unsplit = 0  # their sum once more
    total = figures.first(rule.writes_total)
    if total is not None:
        figures.faulty |= 0 < total < parts
        unsplit += max(total - parts, 0)
    return five_minutes + unsplit, hour, unsplit


def _reply(rule: Convention, figures: _Figures, output: int, prompts: set[int]) -> tuple[int, int]:
    """The whole reply, and the reasoning in it. `prompts`: what a total may count as the prompt."""
    reasoning = figures.first(rule.reasoning) or 0
    total = figures.first(rule.total)
    within = {prompt + output for prompt in prompts}
    beside = {prompt + output + reasoning for prompt in prompts}
    if total and total not in within | beside:
        figures.faulty = True
    if reasoning and (total in beside or (rule.reasoning_beside_output and total not in within)):
        output += reasoning
    figures.faulty |= reasoning > output
    return output, min(reasoning, output)


class _Figures:
    """Reads counts from a payload and remembers whether any of them was impossible."""

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload
        self.faulty = False

    def first(self, paths: Paths) -> int | None:
        """The first figure present. A true 0 counts as present."""
        for path in paths:
            if (count := self._count(path)) is not None:
                return count
        return None

    def sum(self, paths: Paths) -> int:
        return sum([self._count(path) or 0 for path in paths])

    def part(self, paths: Paths, whole: int) -> int:
        """A figure that can be no more than the whole it is of."""
        count = self.first(paths) or 0
        self.faulty |= count > whole
        return min(count, whole)

    def tier(self, rule: Convention) -> str | None:
        """What is said of the tier; what is not the usual, before what is."""
        for path in rule.tier_counts:
            if self._count(path) is not None:
                return path.rpartition(".")[2]
        said = [tier for path in rule.tier if isinstance(tier := self._payload.get(path), str)]
        return next((tier for tier in said if tier not in _USUAL_TIERS), said[0] if said else None)

    def _count(self, path: str) -> int | None:
        value: Any = self._payload
        for name, items in _steps(path):
            if type(value) is not dict and not isinstance(value, Mapping):
                return None
            value = value.get(name)
            if value is None:
                return None
            if items is not None:
                return self._sum_of(value, items)
        if type(value) is int and 0 <= value <= IMPLAUSIBLE_TOKENS:
            return value
        return self._doubtful(value)

    def _sum_of(self, values: Any, items: _Items) -> int | None:
        listed = values if isinstance(values, list) else ()
        chosen = [
            item for item in listed if isinstance(item, Mapping) and item.get(items.key) == items.wanted
        ]
        counts = [count for item in chosen if (count := self._doubtful(item.get(items.counter))) is not None]
        return sum(counts) if counts else None

    def _doubtful(self, value: Any) -> int | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.faulty = True
            return None
        if not 0 <= value <= IMPLAUSIBLE_TOKENS:  # also NaN, which compares false
            self.faulty = True
            return None
        return int(value)


class _Items(NamedTuple):
    """Of a list, those whose `key` has this value: their `counter` is summed."""

    key: str
    wanted: str
    counter: str


@cache
def _steps(path: str) -> tuple[tuple[str, _Items | None], ...]:
    before, _, after = path.partition("[")
    names = before.split(".")
    if not after:
        return tuple((name, None) for name in names)
    chosen, _, counter = after.partition("].")
    key, _, wanted = chosen.partition("=")
    return (*((name, None) for name in names[:-1]), (names[-1], _Items(key, wanted, counter)))


def _fit(total: int, *parts: int) -> list[int]:
    """Keep the parts, in order, as far as the total allows."""
    kept = []
    for part in parts:
        kept.append(min(part, total))
        total -= kept[-1]
    return kept
