"""Many whole numbers in few sequences, each in order: what has been sorted once need not be sorted again.

A digest keeps those of a day in order, as bytes. Of a hundred such sequences the n-th smallest number is found by asking
each how many of its numbers are not larger than another one, some thirty times, and not by laying a million together.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from msgspec import Struct, field

#: What arrays are made of: whole numbers of 1, 2, 4 and 8 bytes.
_CODES = {"b": 7, "h": 15, "i": 31, "q": 63}
#: A sequence of fewer is not worth to be asked by itself.
_FEW = 64


Units = Mapping[int, Sequence[Sequence[int]]]
"""Sequences in order, none of them empty, by what their numbers are to be divided by."""


class Ordered(Struct, array_like=True, frozen=True):
    """Numbers in order."""

    count: int
    total: int
    code: str
    body: bytes
    """As in an array of this code, the lowest byte of a number first."""

    def numbers(self) -> Sequence[int]:
        found: array[int] = array(self.code)
        found.frombytes(self.body)
        return _turned(found)


class Numbers(Struct, array_like=True):
    """Some as they came, the others in sequences that are in order."""

    loose: list[int] = field(default_factory=list)
    ordered: list[Ordered] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loose) + sum(each.count for each in self.ordered)

    @property
    def total(self) -> int:
        return sum(self.loose) + sum(each.total for each in self.ordered)

    def join(self, other: Numbers) -> None:
        """Those of another one, too."""
        self.loose += other.loose
        for each in other.ordered:
            if each.count < _FEW:
                self.loose += each.numbers()
            else:
                self.ordered.append(each)

    def in_order(self) -> Numbers:
        """All in one sequence. Raises OverflowError if there is one that is larger than 64 bits."""
        numbers = [*self.loose, *(number for each in self.ordered for number in each.numbers())]
        if not numbers:
            return Numbers()
        numbers.sort()
        widest = max(numbers[-1], ~numbers[0])
        code = next((code for code, bits in _CODES.items() if widest >> bits == 0), "q")
        body = _turned(array(code, numbers)).tobytes()
        return Numbers([], [Ordered(len(numbers), sum(numbers), code, body)])

    def sequences(self) -> list[Sequence[int]]:
        """Each in order."""
        found = [each.numbers() for each in self.ordered]
        return [sorted(self.loose), *found] if self.loose else found


def nth(units: Units, place: int) -> float:
    """The number at this place, from 1, of all together."""
    if [len(sequences) for sequences in units.values()] == [1]:
        [(unit, [numbers])] = units.items()
        return divided(numbers[place - 1], unit)
    found = [(unit, _smallest(units, place, unit)) for unit in units]
    return min(divided(number, unit) for unit, number in found if number is not None)


def _smallest(units: Units, place: int, unit: int) -> int | None:
    """The smallest number of this unit that so many do not exceed; None if none of them is large enough."""
    low = min(numbers[0] for numbers in units[unit])
    beyond = high = max(numbers[-1] for numbers in units[unit]) + 1
    while low < high:
        middle = (low + high) // 2
        if _up_to(units, middle, unit) >= place:
            high = middle
        else:
            low = middle + 1
    return None if low == beyond else low


def _up_to(units: Units, number: int, unit: int) -> int:
    """How many are not larger than this."""
    return sum(
        [
            bisect_right(numbers, most)
            for of, sequences in units.items()
            for most in (number * of // unit,)
            for numbers in sequences
        ]
    )


def divided(number: int, unit: int) -> float:
    return number if unit == 1 else number / unit


def _turned(numbers: array[int]) -> array[int]:
    """Between the machine's order of bytes and the file's."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
