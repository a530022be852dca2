"""The six counters of a call: as they are stored, and as the server told them."""

from __future__ import annotations

from tests.loopback import TurnUsage
from tokentrace_core.store.reader import Reader, Row

COUNTERS = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def counters_of(*calls: Row) -> dict[str, int]:
    """What is stored, summed over the calls."""
    return {name: sum(call[name] or 0 for call in calls) for name in COUNTERS}


def counters_of_server(told: TurnUsage) -> dict[str, int]:
    """The same, as the server has told it."""
    parts = (
        told.fresh_input,
        told.cached,
        told.cache_write_5m,
        told.cache_write_1h,
        told.output,
        told.reasoning,
    )
    return dict(zip(COUNTERS, parts, strict=True))


def statuses(reader: Reader) -> set[str]:
    """Of everything in the file: nothing may be running once its run is over."""
    return {
        row["status"]
        for table in ("runs", "steps", "llm_calls", "tool_calls")
        for row in reader.query(f"select distinct status from {table}")
    }
