"""What one group of calls adds up to."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import Struct

from tokentrace_core.store.synopsis import CallSums

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

    def add(self, sums: CallSums) -> None:
        """What a run says in short; `runs` are the caller's to count."""
        self.calls += sums.calls
        self.input_tokens += sums.input_tokens
        self.cached_tokens += sums.cached_tokens
        self.output_tokens += sums.output_tokens
        self.cost_nano_usd += sums.nano
        if sums.estimated_calls:
            self.estimated_calls += sums.estimated_calls
            self.estimated_nano_usd += sums.estimated_nano
        if sums.unpriced_calls:
            self.unpriced_calls += sums.unpriced_calls
            self.unpriced_tokens += sums.unpriced_tokens

    def join(self, other: Spent) -> None:
        """Another group, with runs that are not in this one."""
        for name in FIGURES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Spending(NamedTuple):
    """The groups, dearest first, and all of them together."""

    by: tuple[str, ...]
    rows: list[Spent]
    total: Spent


#: The figures of `Spent`, in its order.
FIGURES: tuple[str, ...] = Spent.__struct_fields__[1:]
