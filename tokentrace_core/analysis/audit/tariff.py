"""What the tokens of a call cost each, in whole pico-dollars (10⁻¹²): a claim of any number of them fits SQLite's integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_PICO_PER_NANO = 1_000


class Tariff(NamedTuple):
    """Pico-dollars per token."""

    uncached: int
    read: int
    write_5m: int
    write_1h: int
    output: int

    def nano(self, zones: Sequence[int], read_instead: int, premium: int) -> int:
        """What tokens cost by zone, less what it would cost to read `read_instead` of them and to have `premium` written."""
        uncached, read, write_5m, write_1h, output = self
        paid = (
            zones[0] * uncached
            + zones[1] * read
            + zones[2] * write_5m
            + zones[3] * write_1h
            + zones[4] * output
        )
        needed = read_instead * read + premium * max(0, write_5m - uncached)
        return (paid - needed) // _PICO_PER_NANO

    def less(self, other: Tariff) -> Tariff:
        """How much dearer each token is than by another tariff."""
        return Tariff(*(ours - theirs for ours, theirs in zip(self, other, strict=True)))

    @property
    def caches(self) -> bool:
        """Whether reading from the cache is cheaper than sending anew."""
        return self.read < self.uncached
