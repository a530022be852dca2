"""What log files alone can answer: errors and latency per tool and model, cost per user and day, loops, refusals."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation

from tokentrace_core.analysis.distribution import percentile
from tokentrace_core.logs.reading import Record, began_at, count, number, text
from tokentrace_core.money import NANO

_ENDS = {"complete": False, "error": True}


@dataclass
class Reliability:
    """Calls of one tool or model."""

    calls: int = 0
    errors: int = 0
    """That failed or ran out of time; who was called off did not fail."""
    latencies: array[float] = field(default_factory=lambda: array("d"))
    tokens: int = 0
    nano_usd: int = 0
    unpriced: int = 0

    @property
    def error_rate(self) -> float:
        return self.errors / self.calls if self.calls else 0.0

    @property
    def p95_ms(self) -> float | None:
        """The latency that 95 of 100 calls did not exceed."""
        return percentile(sorted(self.latencies), 95)


@dataclass
class Spent:
    """What one user's calls of one day cost."""

    nano_usd: int = 0
    tokens: int = 0
    llm_calls: int = 0
    unpriced_calls: int = 0
    """Model calls that the sum leaves out."""
    estimated_calls: int = 0


@dataclass
class Loop:
    """A tool that was called with the same arguments again and again."""

    trace_id: str
    tool: str
    repeats: int


@dataclass
class Report:
    """What was found."""

    tools: dict[str, Reliability] = field(default_factory=dict)
    models: dict[str, Reliability] = field(default_factory=dict)
    spent: dict[tuple[str, str | None], Spent] = field(default_factory=dict)
    """By day (UTC, when a call began) and user."""
    loops: dict[tuple[str, str], Loop] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that a limit refused, by its scope."""
    runs: set[str] = field(default_factory=set)
    """Trace ids."""

    @property
    def worst_loops(self) -> list[Loop]:
        return sorted(self.loops.values(), key=lambda loop: (-loop.repeats, loop.trace_id, loop.tool))

    @property
    def nano_usd(self) -> int:
        return sum(spent.nano_usd for spent in self.spent.values())


def report(
    records: Iterable[Record], *, since: datetime | None = None, until: datetime | None = None
) -> Report:
    """Read all records; of those that say when they began, only what did in this time."""
    found = Report()
    for record in records:
        at = began_at(record)
        if at is not None and ((since and at < since) or (until and at >= until)):
            continue
        _take(found, record, at)
    return found


def _take(found: Report, record: Record, at: datetime | None) -> None:
    trace_id = text(record, "trace_id")
    if trace_id is not None:
        found.runs.add(trace_id)
    event = record["message"]
    kind, _, end = event.partition(".")
    if kind in ("llm", "tool") and end in _ENDS:
        _take_call(found, record, kind, _ENDS[end], at)
    elif event == "loop.detected":
        loop = Loop(trace_id or "", text(record, "tool") or "", count(record, "repeats"))
        before = found.loops.get((loop.trace_id, loop.tool))
        if before is None or before.repeats < loop.repeats:
            found.loops[loop.trace_id, loop.tool] = loop
    elif event == "budget.exceeded":
        found.refused[text(record, "scope") or "?"] += 1


def _take_call(found: Report, record: Record, kind: str, failed: bool, at: datetime | None) -> None:
    of_kind, name = (found.models, "model") if kind == "llm" else (found.tools, "tool")
    calls = of_kind.setdefault(text(record, name) or "(unknown)", Reliability())
    nano, tokens = _nano(record), count(record, "tokens")
    unpriced = record.get("cost_status") == "unpriced"
    calls.calls += 1
    calls.errors += failed
    calls.tokens += tokens
    calls.nano_usd += nano
    calls.unpriced += unpriced
    if (latency := number(record, "latency_ms")) is not None:
        calls.latencies.append(latency)
    day = at.date().isoformat() if at is not None else "(unknown)"
    spent = found.spent.setdefault((day, text(record, "user")), Spent())
    spent.nano_usd += nano
    spent.tokens += tokens
    spent.llm_calls += kind == "llm"
    spent.unpriced_calls += unpriced
    spent.estimated_calls += record.get("usage_source") == "estimated"


def _nano(record: Record) -> int:
    """Exact. `cost_usd` is a text; who has turned it into a number has rounded it, if at all, beyond the nano-dollar."""
    if isinstance(record.get("cost_nano_usd"), int):
        return count(record, "cost_nano_usd")
    try:
        amount = Decimal(str(record.get("cost_usd") or 0))
        return int((amount * NANO).to_integral_value()) if amount.is_finite() else 0
    except InvalidOperation:
        return 0
