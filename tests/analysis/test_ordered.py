"""A percentile that is found among sequences, without laying them together, is the one of all their numbers."""

from __future__ import annotations

import sys
from array import array
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core.analysis import ordered
from tokentrace_core.analysis.distribution import distribution
from tokentrace_core.analysis.ordered import Numbers

WIDE = st.integers(-(2**55), 2**55)
NUMBERS = st.one_of(st.integers(-9, 9), st.integers(0, 200_000), WIDE)


def kept(numbers: Numbers) -> Numbers:
    """As it comes back from a file."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(numbers.in_order()), type=Numbers)


def laid_together(parts: list[list[int]]) -> Numbers:
    found = Numbers()
    for part in parts:
        found.join(kept(Numbers(part)))
    return found


@pytest.fixture(autouse=True)
def none_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence of two is one."""
    monkeypatch.setattr(ordered, "_FEW", 2)


@given(st.dictionaries(st.sampled_from([1, 7, 1_000, 128_000]), st.lists(st.lists(NUMBERS, max_size=30), max_size=8)))  # fmt: skip
def test_sequences_are_spread_as_their_numbers_are(parts: dict[int, list[list[int]]]) -> None:
    apart = {unit: laid_together(some) for unit, some in parts.items()}
    together = {unit: Numbers([number for part in some for number in part]) for unit, some in parts.items()}
    found, expected = (
        distribution(*((numbers, unit) for unit, numbers in of.items())) for of in (apart, together)
    )
    assert found == expected
    exact = sorted(Fraction(number, unit) for unit, numbers in together.items() for number in numbers.loose)
    assert found.count == len(exact)
    if exact:
        assert [float(value or 0) for value in (found.p50, found.p99, found.max)] == [
            float(exact[-(-len(exact) * percent // 100) - 1]) for percent in (50, 99, 100)
        ]
        assert found.total == pytest.approx(float(sum(exact)), abs=1e-12 * float(sum(map(abs, exact))))


@given(st.lists(NUMBERS, max_size=50))
def test_numbers_come_back_from_a_file_as_they_were(numbers: list[int]) -> None:
    back = kept(Numbers(numbers))
    assert back.total == sum(numbers)
    assert len(back) == len(numbers)
    assert [number for sequence in back.sequences() for number in sequence] == sorted(numbers)


@pytest.mark.parametrize("number", [127, 128, -128, -129, 2**15, 2**31 - 1, 2**31, -(2**63), 2**63 - 1])
def test_a_number_takes_as_many_bytes_as_it_needs_and_keeps_its_value(number: int) -> None:
    [[back]] = kept(Numbers([number])).sequences()
    assert back == number


def test_a_number_that_no_column_can_hold_is_not_kept_as_another_one() -> None:
    with pytest.raises(OverflowError):
        Numbers([2**63]).in_order()


def test_a_file_from_a_machine_with_another_order_of_bytes_says_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "byteorder", "big" if sys.byteorder == "little" else "little")
    turned = Numbers([1, 256]).in_order()
    assert array("h", [256, 1]).tobytes() == turned.ordered[0].body
    assert list(turned.sequences()[0]) == [1, 256]
