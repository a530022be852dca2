"""Dividing a difference among the things that changed, with nothing left over.

Some figures were one thing before and another after, and together they make a cost. How much of the difference is due to each?
Change them one after the other, and each step has its own part; but the parts depend on the order. So all orders are taken, and
each figure gets the mean of its parts: its Shapley value. It is fair to all (two figures that do the same get the same), it gives
nothing to one that did not change, and the parts add up to the difference. All of it is whole numbers. At the end the parts are
rounded so that they still add up: each down, and the nano-dollars left over to those that lost most by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import factorial


def shapley(values: Sequence[int]) -> list[int]:
    """Each player's part of `values[-1] - values[0]`, times n!.

    `values[mask]` is the cost when the players in `mask` (bit 0 is the first one) are as they were after, and the others as they were
    before; its length is 2ⁿ.
    """
    players = len(values).bit_length() - 1
    weights = _weights(players)
    parts = [0] * players
    for player in range(players):
        bit = 1 << player
        parts[player] = sum(
            weights[mask.bit_count()] * (values[mask | bit] - values[mask])
            for mask in range(len(values))
            if not mask & bit
        )
    return parts


def orders(players: int) -> int:
    """In how many orders so many figures can change: what `shapley` has multiplied its parts with."""
    return factorial(players)


def rounded(parts: Sequence[int], denominator: int, total: int) -> list[int]:
    """The parts, each over `denominator`, as whole numbers whose sum is `total`.

    What the parts do not explain of the total (calls are rounded to whole nano-dollars one by one) is added to the largest.
    """
    whole = [part // denominator for part in parts]
    left = total - sum(whole)
    if 0 <= left <= len(parts):
        lost = sorted(range(len(parts)), key=lambda place: -(parts[place] % denominator))
        for place in lost[:left]:
            whole[place] += 1
    elif parts:
        largest = max(range(len(parts)), key=lambda place: abs(parts[place]))
        whole[largest] += left
    return whole


@cache
def _weights(players: int) -> tuple[int, ...]:
    """By how many others have changed already: in how many orders it is just so."""
    return tuple(factorial(before) * factorial(players - before - 1) for before in range(players))
