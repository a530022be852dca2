"""How a figure is spread over runs or calls.

A percentile is a value that occurred: the smallest that at least p % of all values do not exceed (nearest rank, type 1 of
Hyndman and Fan 1996). So money stays whole, and the 99th of a hundred values is the second largest, not the largest.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Distribution(Struct):
    """Of `count` values; all None if there are none."""

    count: int = 0
    p50: float | None = None
    p99: float | None = None
    mean: float | None = None
    max: float | None = None
    total: float = 0


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """By nearest rank, of values in ascending order."""
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1] if ordered else None


def distribution(values: list[float] | list[int]) -> Distribution:
    if not values:
        return Distribution()
    ordered, total = sorted(values), sum(values)
    p50, p99 = (percentile(ordered, percent) for percent in (50, 99))
    return Distribution(len(values), p50, p99, total / len(values), ordered[-1], total)
