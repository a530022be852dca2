"""Runs of digits: which of them could be a number of which kind, told by their shape alone.

Dates, times and prices are most of the numbers in an agent's text, and every rule that looks at one costs. So a run is
first seen as a shape (`ddd-dd-dddd` is three, two and four digits), and what a shape can be is worked out once per
shape, not once per number. Shapes hold no digit, so they may be remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tokentrace_core.redaction_scans import DIGITS, Region, Sheet, classes

_SEPARATORS = b" ().+-_/>\n\r\t"
_DIGITS_ALONE = classes(d=DIGITS)
_DIGITS_APART = classes(d=DIGITS, s=_SEPARATORS)
_RUN_OF_DIGITS = re.compile(b"d[ds]{6,}")
#: The fewest digits of a number with a meaning, and of one that only its label tells (a local phone number).
_FEWEST, _FEWEST_OF_PHONE = 9, 7
_TALK_OF_PHONES = tuple(
    map(re.compile, (b"phone", b"tel[.:e]", b"call ", b"mobil", b"cell[ :p]", b"fax", b"reach ", b"dial "))
)
_TALK_OF_TAXES = tuple(map(re.compile, (b"ssn", b"soc", b"tin", b"tax")))

ANY, SHORT, SSN, AMERICAN, CARD, DATE = 1, 2, 4, 8, 16, 32
_SHAPES = (
    (SSN, re.compile(b"ddds{1,3}dds{1,3}dddd")),
    (AMERICAN, re.compile(b"ddds{1,4}ddds{0,4}dddd")),
    (DATE, re.compile(b"ddddsddsdds{0,4}\\Z")),
)
_LONGEST_SHAPE = 64


@lru_cache(maxsize=4096)
def _kinds_of(shape: bytes) -> int:
    digits = shape.count(b"d")
    kinds = sum(kind for kind, pattern in _SHAPES if pattern.search(shape))
    if digits >= _FEWEST:
        return kinds | ANY | (CARD if digits >= 12 else 0)
    return kinds | SHORT if digits >= _FEWEST_OF_PHONE and not kinds & DATE else 0


def figures(sheet: Sheet) -> list[Region]:
    """Runs of seven digits or more with nothing but separators between them, from the first digit on."""
    together = sheet.raw.translate(_DIGITS_ALONE, _SEPARATORS)
    if b"d" * _FEWEST_OF_PHONE not in together:
        return []
    if b"d" * _FEWEST not in together and not any(talk.search(sheet.lower) for talk in _TALK_OF_PHONES):
        return []
    apart = sheet.raw.translate(_DIGITS_APART)
    kinds, regions = sheet.kinds, []
    for found in _RUN_OF_DIGITS.finditer(apart):
        shape = found[0]
        kind = _kinds_of(shape) if len(shape) <= _LONGEST_SHAPE else ANY | SSN | AMERICAN | CARD
        if kind:
            region = found.span()
            kinds[region] = kind
            regions.append(region)
    return regions


def _of_kind(sheet: Sheet, kind: int) -> list[Region]:
    regions, kinds = sheet.regions(figures), sheet.kinds
    return [region for region in regions if kinds[region] & kind] if regions else []


def numbers(sheet: Sheet) -> list[Region]:
    """Nine digits or more."""
    return _of_kind(sheet, ANY)


def card_numbers(sheet: Sheet) -> list[Region]:
    """As many digits as a card's number has."""
    return _of_kind(sheet, CARD)


def in_three_parts(sheet: Sheet) -> list[Region]:
    """Three digits, two and four."""
    return _of_kind(sheet, SSN)


def american_numbers(sheet: Sheet) -> list[Region]:
    """Three digits, three and four."""
    return _of_kind(sheet, AMERICAN)


def tax_numbers(sheet: Sheet) -> list[Region]:
    """Numbers in talk of taxes."""
    found = sheet.regions(numbers)
    return found if found and any(talk.search(sheet.lower) for talk in _TALK_OF_TAXES) else []


def numbers_with_plus(sheet: Sheet) -> list[Region]:
    """Numbers with a plus in them or in front."""
    if b"+" not in sheet.raw:
        return []
    return [region for region in sheet.regions(numbers) if sheet.raw.find(b"+", max(region[0] - 4, 0), region[1]) >= 0]


def numbers_from_zero(sheet: Sheet) -> list[Region]:
    """Numbers that begin with two zeros."""
    return [region for region in sheet.regions(numbers) if sheet.raw.find(b"00", *region) >= 0]


def phone_numbers(sheet: Sheet) -> list[Region]:
    """Numbers, and shorter ones in talk of phones."""
    if not sheet.regions(figures):
        return []
    short = SHORT if any(talk.search(sheet.lower) for talk in _TALK_OF_PHONES) else 0
    return _of_kind(sheet, ANY | short)


def lower_case_accounts(sheet: Sheet) -> list[Region]:
    """Two small letters and two digits, in a text that has numbers."""
    if not sheet.regions(numbers):
        return []
    return [found.span() for found in _COUNTRY.finditer(sheet.raw.translate(_SMALL))]


_SMALL = classes(c=b"abcdefghijklmnopqrstuvwxyz", d=DIGITS)
_COUNTRY = re.compile(b"ccdd")
