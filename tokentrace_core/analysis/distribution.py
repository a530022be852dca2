"""How a figure is spread over runs or calls.

A percentile is a value that occurred: the smallest that at least p % of all values do not exceed (nearest rank, type 1 of
Hyndman and Fan 1996). So money stays whole, and the 99th of a hundred values is the second largest, not the largest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import fsum

from msgspec import Struct

from tokentrace_core.analysis.ordered import Numbers, divided, nth


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
    return ordered[_rank(len(ordered), percent) - 1] if ordered else None


def distribution(*groups: tuple[Numbers, int]) -> Distribution:
    """Of whole numbers, each group with what they are to be divided by."""
    parts = [(numbers, unit) for numbers, unit in groups if len(numbers)]
    if not parts:
        return Distribution()
    count = sum(len(numbers) for numbers, _ in parts)
    units: dict[int, list[Sequence[int]]] = defaultdict(list)
    for numbers, unit in parts:
        units[unit] += numbers.sequences()
    p50, p99 = (nth(units, _rank(count, percent)) for percent in (50, 99))
    highest = max(divided(numbers[-1], unit) for unit, some in units.items() for numbers in some)
    if all(unit == 1 for _, unit in parts):
        total: float = sum(numbers.total for numbers, _ in parts)
    else:
        total = fsum(numbers.total / unit for numbers, unit in parts)
    return Distribution(count, p50, p99, total / count, highest, total)


def _rank(count: int, percent: int) -> int:
    return max(-(-count * percent // 100), 1)
