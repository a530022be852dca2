"""The spans of a run as nested dataclasses: a row of a table, and what hangs below it.

Fields are the columns of the span's table under their names. What a node has `spent` is its own and everything
below it, so the parts always sum up to the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

import msgspec

from tokentrace_core.store.reader import Row

_JSON_COLUMNS = {"attributes": "{}", "params": "{}", "tags": "[]"}


@dataclass(slots=True)
class Spent:
    """What calls used and cost; `nano_usd` leaves out the `unpriced_calls`."""

    nano_usd: int = 0
    estimated_nano_usd: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    llm_calls: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0

    def add(self, other: Spent) -> None:
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


@dataclass(slots=True, kw_only=True)
class Node:
    """What all spans share."""

    type: ClassVar[str]

    id: str
    status: str
    error_type: str | None
    error: str | None
    started_at: int
    ended_at: int | None
    attributes: dict[str, Any]
    children: list[Node] = field(default_factory=list)
    spent: Spent = field(default_factory=Spent)

    @property
    def duration_ms(self) -> float | None:
        return None if self.ended_at is None else (self.ended_at - self.started_at) / 1000

    def own(self) -> Spent:
        """Without what is below it."""
        return Spent()


@dataclass(slots=True, kw_only=True)
class RunNode(Node):
    type = "run"

    name: str
    session_id: str
    user_id: str | None
    project: str | None
    framework: str | None
    task_type: str | None
    agent_version: str | None
    environment: str | None
    tags: list[str]
    input: str | None
    output: str | None
    waiting_ms: int
    steps: int
    tool_calls: int
    refused_calls: int
    expired: str | None = None
    """What retention has taken: "payloads", or "trace", everything below the run."""

    @property
    def duration_ms(self) -> float | None:
        """Without the time it waited for a human."""
        return None if self.ended_at is None else (self.ended_at - self.started_at) / 1000 - self.waiting_ms


@dataclass(slots=True, kw_only=True)
class StepNode(Node):
    type = "step"

    number: int
    agent: str | None
    agent_step: int
    parent_call_id: str | None
    name: str | None
    reasoning: str | None


@dataclass(slots=True, kw_only=True)
class LLMNode(Node):
    type = "llm_call"

    step_id: str | None
    kind: str
    provider: str | None
    model: str | None
    model_answered: str | None
    params: dict[str, Any]
    input_uncached_tokens: int | None
    cache_read_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str
    cost_nano_usd: int | None
    cost_status: str | None
    price_version: str | None
    stop_reason: str | None
    response_id: str | None
    first_token_ms: float | None
    prompt_id: str | None
    output_id: str | None

    @property
    def model_name(self) -> str:
        return self.model or self.model_answered or "(unknown model)"

    @property
    def written_tokens(self) -> int:
        """Prompt tokens written to the provider's cache."""
        return (self.cache_write_5m_tokens or 0) + (self.cache_write_1h_tokens or 0)

    @property
    def input_tokens(self) -> int | None:
        """The whole prompt; None if no usage is known."""
        if self.input_uncached_tokens is None:
            return None
        return self.input_uncached_tokens + (self.cache_read_tokens or 0) + self.written_tokens

    @property
    def wraps(self) -> str | None:
        """The call inside this one, which has the figures; they are counted there."""
        return self.attributes.get("wraps")

    def own(self) -> Spent:
        if self.status == "refused":
            return Spent()
        estimated = self.usage_source == "estimated"
        return Spent(
            nano_usd=self.cost_nano_usd or 0,
            estimated_nano_usd=(self.cost_nano_usd or 0) if estimated else 0,
            input_tokens=self.input_tokens or 0,
            cached_tokens=self.cache_read_tokens or 0,
            output_tokens=self.output_tokens or 0,
            llm_calls=1,
            unpriced_calls=int(self.cost_status == "unpriced"),
            estimated_calls=int(estimated),
        )


@dataclass(slots=True, kw_only=True)
class ToolNode(Node):
    type = "tool_call"

    step_id: str | None
    kind: str
    name: str
    tool_call_id: str | None
    arguments: str | None
    result: str | None
    result_bytes: int | None
    http_status: int | None
    cost_nano_usd: int | None

    def own(self) -> Spent:
        return Spent(nano_usd=self.cost_nano_usd or 0)


N = TypeVar("N", bound=Node)


def node(kind: type[N], row: Row) -> N:
    """A row as a node of its kind."""
    facts = {part.name: row[part.name] for part in fields(kind) if part.name in row}
    for column, default in _JSON_COLUMNS.items():
        if column in facts:
            facts[column] = msgspec.json.decode(facts[column] or default)
    return kind(**facts)
