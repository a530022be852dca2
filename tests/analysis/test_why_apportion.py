"""A split that depends on the order of asking, or leaves a nano-dollar over, is an opinion and no account."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core.analysis.why.apportion import orders, rounded, shapley
from tokentrace_core.analysis.why.effects import OF_CELL, SideOfCell, Used, effects_of
from tokentrace_core.analysis.why.rates import Charged, cost_at, scaled, solved

numbers = st.integers(-(10**15), 10**15)


@given(st.integers(0, 4).flatmap(lambda players: st.lists(numbers, min_size=2**players, max_size=2**players)))
def test_each_part_is_the_mean_over_all_orders_of_changing(values: list[int]) -> None:
    players = len(values).bit_length() - 1
    expected = [Fraction()] * players
    for order in permutations(range(players)):
        mask = 0
        for player in order:
            expected[player] += values[mask | 1 << player] - values[mask]
            mask |= 1 << player
    assert shapley(values) == expected
    assert sum(shapley(values)) == (values[-1] - values[0]) * orders(players) * (players > 0)


@given(st.lists(numbers, min_size=1, max_size=9), st.integers(1, 10**9), st.integers(-20, 20))
def test_rounding_leaves_nothing_over(parts: list[int], denominator: int, rounding: int) -> None:
    total = sum(parts) // denominator + rounding
    whole = rounded(parts, denominator, total)
    assert sum(whole) == total
    off = [abs(each - Fraction(part, denominator)) for each, part in zip(whole, parts, strict=True)]
    assert sorted(off)[: len(parts) - 1] == sorted(each for each in off if each <= 1)[: len(parts) - 1]


counts = st.integers(0, 10**6)
rate = st.fractions(0, 10**5, max_denominator=1_000)
used = st.builds(
    lambda calls, tokens, rates: Used(calls, tuple(tokens), (*rates, Fraction())),
    st.integers(1, 1_000),
    st.lists(counts, min_size=5, max_size=5),
    st.lists(rate, min_size=5, max_size=5),
)


def side_of(runs: int, of_kind: int, unpriced: int, models: dict[str, Used]) -> SideOfCell:
    priced = sum(each.calls for each in models.values())
    cost = sum(cost_at(each.rates, each.calls, each.tokens) for each in models.values())
    return SideOfCell(runs + of_kind, of_kind, priced + unpriced, round(cost), models)


sides = st.builds(
    side_of, counts, st.integers(1, 10**6), st.integers(0, 50), st.dictionaries(st.sampled_from("mno"), used)
)


@given(sides, sides)
def test_the_effects_of_a_cell_are_its_difference(before: SideOfCell, after: SideOfCell) -> None:
    made = effects_of(before, after)
    assert list(made) == list(OF_CELL)
    assert sum(made.values()) == after.cost - before.cost


@given(sides)
def test_what_did_not_change_has_no_effect(side: SideOfCell) -> None:
    assert not any(effects_of(side, side).values())


@given(sides, sides)
def test_there_and_back_is_nothing(before: SideOfCell, after: SideOfCell) -> None:
    there, back = effects_of(before, after), effects_of(after, before)
    assert all(abs(there[name] + back[name]) <= len(OF_CELL) for name in OF_CELL)


RATES = tuple(Fraction(each) for each in (1_000, 100, 1_250, 2_000, 4_000, 0))
BASE = side_of(0, 10, 0, {"m": Used(40, (40_000, 80_000, 4_000, 0, 8_000), RATES)})


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("runs", side_of(0, 20, 0, {"m": Used(80, (80_000, 160_000, 8_000, 0, 16_000), RATES)})),
        ("kinds", BASE._replace(runs=5, of_kind=5, cost=BASE.cost)),
        ("calls", side_of(0, 10, 0, {"m": Used(80, (80_000, 160_000, 8_000, 0, 16_000), RATES)})),
        ("priced", side_of(0, 10, 20, {"m": Used(20, (20_000, 40_000, 2_000, 0, 4_000), RATES)})),
        ("input", side_of(0, 10, 0, {"m": Used(40, (90_000, 80_000, 4_000, 0, 8_000), RATES)})),
        ("cache", side_of(0, 10, 0, {"m": Used(40, (116_000, 0, 8_000, 0, 8_000), RATES)})),
        ("output", side_of(0, 10, 0, {"m": Used(40, (40_000, 80_000, 4_000, 0, 9_000), RATES)})),
        ("models", side_of(0, 10, 0, {"n": Used(40, (40_000, 80_000, 4_000, 0, 8_000), tuple(2 * each for each in RATES))})),
        ("prices", side_of(0, 10, 0, {"m": Used(40, (40_000, 80_000, 4_000, 0, 8_000), tuple(3 * each for each in RATES))})),
    ],
)  # fmt: skip
def test_one_change_gets_all_of_the_difference(name: str, after: SideOfCell) -> None:
    if name == "kinds":  # the same number of all runs, half of them of this kind
        after = side_of(5, 5, 0, {"m": Used(20, (20_000, 40_000, 2_000, 0, 4_000), RATES)})
    made = effects_of(BASE, after)
    assert made == dict.fromkeys(OF_CELL, 0) | {name: after.cost - BASE.cost}
    assert made[name]


def test_two_changes_share_what_they_make_together() -> None:
    """Twice the runs at twice the price: of the three times more, each made half."""
    tokens = (80_000, 160_000, 8_000, 0, 16_000)
    after = side_of(0, 20, 0, {"m": Used(80, tokens, tuple(2 * each for each in RATES))})
    made = effects_of(BASE, after)
    assert made["runs"] == made["prices"] == (after.cost - BASE.cost) // 2
    assert after.cost == 4 * BASE.cost


# ── what a token cost ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(20))
def test_rates_are_found_in_what_was_charged(seed: int) -> None:
    rng = random.Random(seed)
    known = (*(Fraction(rng.randrange(1, 10**6), rng.choice([1, 10, 100])) for _ in range(5)), Fraction())
    calls = [tuple(rng.randrange(50_000) for _ in range(5)) for _ in range(40)]
    assert solved([Charged(1, tokens, round(cost_at(known, 1, tokens))) for tokens in calls]) == known


def test_calls_that_are_all_alike_tell_no_rates() -> None:
    assert solved([Charged(1, (1_000, 0, 0, 0, 100), 1_400_000)] * 20) is None


def test_what_costs_although_no_token_does_is_a_fee_per_call() -> None:
    free = (Fraction(),) * 6
    rates = scaled(free, Charged(4, (10, 0, 0, 0, 10), 80_000))
    assert rates == (*free[:5], Fraction(20_000))
