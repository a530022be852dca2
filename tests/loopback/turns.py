"""The script language: one `Turn` is what the model answers to one request, whichever provider is asked.

A turn says what the answer means (text, tool calls, tokens spent, or a failure) and how it arrives (late, in slow
chunks, cut off); no wire format appears here. Turns are values: the same one may be answered any number of times.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class TurnUsage:
    """Tokens spent by one answer. Two totals; every other counter is a part of one of them.

    `cached` and `cache_write` are parts of `input`, `cache_write_1h` is a part of `cache_write` (the rest was
    written for five minutes), `reasoning` is a part of `output`.
    """

    input: int = 100
    output: int = 20
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        if self.cached + self.cache_write > self.input:
            raise ValueError(f"more cached and cache-written tokens than input tokens: {self}")
        if self.cache_write_1h > self.cache_write:
            raise ValueError(f"more tokens written for one hour than written at all: {self}")
        if self.reasoning > self.output:
            raise ValueError(f"more reasoning tokens than output tokens: {self}")

    @property
    def fresh_input(self) -> int:
        """Prompt tokens neither read from the cache nor written to it."""
        return self.input - self.cached - self.cache_write

    @property
    def cache_write_5m(self) -> int:
        return self.cache_write - self.cache_write_1h

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: "TurnUsage") -> "TurnUsage":
        return TurnUsage(*map(sum, zip(astuple(self), astuple(other), strict=True)))


NO_USAGE = TurnUsage(input=0, output=0)


@dataclass(frozen=True)
class ToolCall:
    """A tool the model asks for. Without an id it gets one from its request's number and its own position."""

    name: str
    arguments: Json = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Turn:
    """One scripted answer."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: TurnUsage = TurnUsage()

    status: int = 200
    error_message: str | None = None
    """None: a message naming the status."""
    error_type: str | None = None
    """None: what the provider sends with that status."""
    headers: Mapping[str, str] = field(default_factory=dict)

    delay: float = 0.0
    """Seconds before the answer begins."""
    chunk_delay: float = 0.0
    """Seconds before each chunk of a stream but the first."""
    abort_after: int | None = None
    """Hang up after this many chunks of a stream; an answer that is not streamed is then not sent at all."""

    model: str | None = None
    """The model that says it answered; None: the one that was asked."""
    id: str | None = None
    """The answer's id; None: one made of its request's number."""
    finish: str | None = None
    """The provider's own finish or stop reason; None: the one that fits the content."""
    thin_delta: bool = False
    """Anthropic's older stream: the last usage has `output_tokens` only, the rest came with the first event."""
    report_usage: bool = True
    """False: the answer says nothing about the tokens it cost."""
    thinking: str = ""
    """What the model says to itself; only Anthropic's wire format tells it."""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def failure(self) -> str:
        """The message of an error answer."""
        return self.error_message or f"scripted failure with status {self.status}"

    def answering_model(self, request: Json) -> str:
        return self.model or str(request.get("model"))
