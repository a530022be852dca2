"""What one group of calls adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import astuple

Key = tuple[Any, ...]


class Spent(Struct):
    """Sums. Money is in nano-dollars, and says how much of it is estimated and how many calls it leaves out."""

    key: Key = ()
    """The group's values, one for each dimension that was asked for."""
    runs: int = 0
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    """The part of them that came from the provider's cache."""
    output_tokens: int = 0
    cost_nano_usd: int = 0
    estimated_nano_usd: int = 0
    """The part of it that rests on estimated usage."""
    unpriced_calls: int = 0
    """Calls whose cost is not in it, since nobody knows it."""
    unpriced_tokens: int = 0
    estimated_calls: int = 0

    def add(self, sums: Sequence[int]) -> None:
        """Figures in the order of `FIGURES`."""
        runs, calls, sent, cached, got, nano, estimated_nano, unpriced, unpriced_tokens, estimated = sums
        self.runs += runs
        self.calls += calls
        self.input_tokens += sent
        self.cached_tokens += cached
        self.output_tokens += got
        self.cost_nano_usd += nano
        self.estimated_nano_usd += estimated_nano
        self.unpriced_calls += unpriced
        self.unpriced_tokens += unpriced_tokens
        self.estimated_calls += estimated

    def join(self, other: Spent) -> None:
        """Another group, with runs that are not in this one."""
        self.add(astuple(other)[1:])


class Spending(NamedTuple):
    """The groups, dearest first, and all of them together."""

    by: tuple[str, ...]
    rows: list[Spent]
    total: Spent


#: The figures of `Spent`, in its order.
FIGURES: tuple[str, ...] = Spent.__struct_fields__[1:]
