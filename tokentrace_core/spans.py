"""The five levels of a trace: session → run → step → LLM call | tool call.

A span is a plain record. The recorder is the only one to change it; subscribers read it. Texts are
`Payload`s, which can be read only redacted. Times are integer microseconds since the epoch, UTC. Ids sort by
time: a run's is a W3C trace id (32 hex), all others are W3C span ids (16 hex), unique within their run.
Money is integer nano-dollars; None means unknown, which is not 0.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from tokentrace_core.payload import Payload
    from tokentrace_core.prompts import Prompt

Status = Literal["running", "waiting", "success", "failure", "timeout", "cancelled", "interrupted", "refused"]
"""`waiting`: for a human. `interrupted`: the process died. `refused`: a budget said no; nothing was sent."""

CostStatus = Literal["priced", "override", "cached", "free", "unpriced"]
"""Where a cost comes from. `cached`: answered from a local cache, nothing was sent. `unpriced`: cost is None."""

_CANCELLATIONS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


class Span(Struct, kw_only=True, eq=False):
    """What all spans but a session share."""

    table: ClassVar[str]

    id: str
    run_id: str
    status: Status = "running"
    error_type: str | None = None
    error: Payload | None = None
    started_at: int
    ended_at: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    """Free facts, `attr.*` in filters. Redacted when they are set."""

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds from start to end; None while it is open."""
        return None if self.ended_at is None else (self.ended_at - self.started_at) / 1000


class Session(Struct, kw_only=True, eq=False):
    """A conversation or task thread: the runs that belong together."""

    table: ClassVar[str] = "sessions"

    id: str
    user_id: str | None = None
    project: str | None = None
    started_at: int
    metadata: dict[str, Any] = field(default_factory=dict)


class Run(Span, kw_only=True, eq=False):
    """One request-to-answer cycle: one trace. `run_id` is its own id."""

    table: ClassVar[str] = "runs"

    session_id: str
    user_id: str | None = None
    project: str | None = None
    framework: str | None = None
    name: str
    task_type: str | None = None
    agent_version: str | None = None
    environment: str | None = None
    tags: list[str] = field(default_factory=list)
    input: Payload | None = None
    output: Payload | None = None
    waiting_ms: int = 0
    """Time spent waiting for a human; not part of the agent's latency."""
    steps: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    refused_calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    """The part of `input_tokens` that came from the provider's cache."""
    output_tokens: int = 0
    cost_nano_usd: int = 0
    """The sum over all priced calls; `unpriced_calls` says how many it leaves out."""
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    """Tokens in and out of those calls."""
    estimated_calls: int = 0


class RunPart(Span, kw_only=True, eq=False):
    """What one process did in a run that another one began; see `Tracer.continue_from`."""

    table: ClassVar[str] = "run_parts"

    parent_id: str
    """The span that asked for it, in the process that did."""
    name: str
    session_id: str
    user_id: str | None = None
    project: str | None = None
    environment: str | None = None


class Step(Span, kw_only=True, eq=False):
    """One loop iteration of an agent: think, act, observe."""

    table: ClassVar[str] = "steps"

    number: int
    """Position in the run, from 1."""
    agent: str | None = None
    agent_step: int = 1
    """Position in this agent's own loop, from 1."""
    parent_call_id: str | None = None
    """The tool call that spawned this agent, or what asked another process; None for the run's own agent."""
    name: str | None = None
    reasoning: Payload | None = None
    cumulative_cost_nano_usd: int = 0
    """What the whole run had cost when this step ended."""
    cumulative_tokens: int = 0
    """Tokens in and out of the whole run when this step ended."""


class LLMCall(Span, kw_only=True, eq=False):
    """One request to a model."""

    table: ClassVar[str] = "llm_calls"

    step_id: str | None = None
    kind: Literal["chat", "completion", "embedding"] = "chat"
    provider: str | None = None
    model: str | None = None
    """The model asked for."""
    model_answered: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    """Temperature, max_tokens, seed, stop … as sent."""
    input_uncached_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    """The part of the prompt that was sound; None: nobody said."""
    output_audio_tokens: int | None = None
    web_searches: int | None = None
    """Searches by the provider during the call, which it charges by the piece."""
    usage_source: Literal["reported", "estimated", "missing"] = "missing"
    cost_nano_usd: int | None = None
    cost_status: CostStatus | None = None
    price_version: str | None = None
    """Which price list, and which of its models, made the cost."""
    stop_reason: str | None = None
    response_id: str | None = None
    first_token_ms: float | None = None
    prompt: Prompt | None = None
    """The leaf of the prompt prefix tree: all messages that were sent."""
    tools: Payload | None = None
    """The tool definitions that were sent."""
    output: Payload | None = None
    """The model's message, in the same form in which it is sent back in the next prompt."""

    @property
    def total_tokens(self) -> int:
        """Prompt and reply together; what is unknown counts as 0."""
        prompt = (self.input_uncached_tokens or 0) + (self.cache_read_tokens or 0)
        written = (self.cache_write_5m_tokens or 0) + (self.cache_write_1h_tokens or 0)
        return prompt + written + (self.output_tokens or 0)


class ToolCall(Span, kw_only=True, eq=False):
    """One tool or retrieval."""

    table: ClassVar[str] = "tool_calls"

    step_id: str | None = None
    kind: Literal["tool", "retrieval"] = "tool"
    name: str
    tool_call_id: str | None = None
    """The id under which the model asked for it."""
    arguments: Payload | None = None
    result: Payload | None = None
    http_status: int | None = None
    cost_nano_usd: int | None = None
    """What an external service charged, if the tool said so."""


class Score(Struct, kw_only=True, eq=False):
    """An evaluation of a run or of one of its spans."""

    table: ClassVar[str] = "scores"

    id: str
    run_id: str
    span_id: str
    name: str
    value: float
    comment: str | None = None
    created_at: int


Call = LLMCall | ToolCall


def status_of(error: BaseException) -> Status:
    """The status a span ends with when this was raised through it."""
    if isinstance(error, _CANCELLATIONS):
        return "cancelled"
    return "timeout" if isinstance(error, TimeoutError) else "failure"
