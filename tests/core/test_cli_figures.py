"""Figures and texts: a small sum must not look like nothing, and text must not act."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokentrace_core.cli import figures
from tokentrace_core.cli.text import clean, clean_lines, first_line, shorten
from tokentrace_core.pricing import show_usd


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0"),
        (1, "$0.000000001"),
        (412_500, "$0.00041"),
        (2_850, "$0.0000028"),
        (9_999_999, "$0.0100"),
        (10_000_000, "$0.0100"),
        (12_345_678, "$0.0123"),
        (999_000_000, "$0.9990"),
        (1_000_000_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
        (-412_500, "-$0.00041"),
    ],
)
def test_small_sums_keep_two_digits_that_count(nano: int, shown: str) -> None:
    assert show_usd(nano) == shown


@given(st.integers(min_value=1, max_value=10**15))
def test_no_sum_but_zero_is_shown_as_zero(nano: int) -> None:
    shown = Decimal(show_usd(nano).removeprefix("$").replace(",", ""))
    assert shown
    assert abs(shown - Decimal(nano) / 10**9) <= max(
        Decimal("0.005"), Decimal(nano) / 10**9 * Decimal("0.06")
    )


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_the_exact_sum_is_exact(nano: int) -> None:
    text = figures.exact_usd(nano)
    assert Decimal(text) * 10**9 == nano
    assert "E" not in text
    assert not (text.endswith("0") and "." in text)


@pytest.mark.parametrize(
    ("unpriced", "estimated", "nano", "shown"),
    [(1, 0, 0, "unpriced"), (1, 0, 10**9, "$1.00+?"), (0, 1, 10**9, "≈$1.00"), (1, 1, 10**9, "≈$1.00+?")],
)
def test_a_sum_carries_its_doubts(unpriced: int, estimated: int, nano: int, shown: str) -> None:
    assert figures.spent(nano, unpriced=unpriced, estimated=estimated) == shown


def test_tokens_sizes_and_durations_fit_their_columns() -> None:
    counts = (0, 999, 9_999, 10_000, 123_456, 999_499, 999_500, 12_345_678)
    assert [figures.tokens(count, narrow=True) for count in counts] == [
        *("0", "999", "9,999", "10.0k", "123k", "999k", "1.0M", "12.3M")
    ]
    assert figures.tokens(12_345_678) == "12,345,678"
    assert [figures.size(count) for count in (0, 999, 1_234, 5 * 10**6, 2 * 10**9)] == [
        *("0 B", "999 B", "1.2 kB", "5.0 MB", "2.0 GB")
    ]
    assert [figures.duration(ms) for ms in (0.4, 164, 1_234, 65_000, 3 * 3_600_000 + 7 * 60_000)] == [
        *("0ms", "164ms", "1.2s", "1m 05s", "3h 07m")
    ]


@given(st.text())
def test_cleaned_text_has_no_character_that_acts(text: str) -> None:
    for shown in (clean(text), shorten(text, 20), first_line(text)):
        assert shown.isprintable() or all(c.isprintable() or c in "\xad" or not c.isascii() for c in shown)
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert len(shorten(text, 20)) <= 20
    kept = clean_lines(text)
    assert not any((ord(c) < 0x20 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in kept)


def test_control_characters_are_seen_not_obeyed() -> None:
    assert clean("a\x1b[31mb\x07\r\nc\x7f\x9b\u202e") == "a␛[31mb␇␍␊c␡��"
    assert clean_lines("a\r\nb\tc\x1b") == "a\nb\tc␛"
    assert first_line("\n\n  first \nsecond") == "first"
