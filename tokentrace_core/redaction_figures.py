"""Runs of digits: which of them could be a number of which kind, told by their shape alone.

Dates, times and prices are most of the numbers in an agent's text, and every rule that looks at one costs. So a run is
first seen as a shape (`ddd-dd-dddd` is three, two and four digits), and what a shape can be is worked out once per
shape, not once per number. Shapes hold no digit, so they may be remembered.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tokentrace_core.redaction_sheet import (
    DIGITS,
    FEWEST,
    FIGURE,
    SEPARATORS,
    Region,
    Sheet,
    classes,
    scan,
)

_DIGITS_APART = classes(d=DIGITS, p=b".", s=SEPARATORS.replace(b".", b""))
_RUN_OF_DIGITS = re.compile(b"d[dps]{6,}")
_TALK_OF_PHONES = tuple(
    map(
        re.compile,
        (
            b"phone",
            b'tel[.:e\xe9 ="]',
            b"call ",
            b"mobil",
            b"cell[ :pu]",
            b"fax",
            b"reach ",
            b"dial ",
            b"number is",
            b"contact",
        ),
    )
)
_TALK_OF_TAXES = (b"ssn", b"soc", b"tin", b"tax")

ANY, SHORT, SSN, AMERICAN, CARD, BARE, DECIMAL = (1 << bit for bit in range(7))
_SHAPES = (
    (SSN, re.compile(b"ddd[ps]{1,3}dd[ps]{1,3}dddd")),
    (AMERICAN, re.compile(b"ddd[ps]{1,4}ddd[ps]{0,4}dddd")),
    (BARE, re.compile(b"\\Ad+[ps]*\\Z")),
    (DECIMAL, re.compile(b"\\Ad{1,6}pd+(?:sdd)?[ps]*\\Z")),
)
#: Local numbers, bare or in groups; dates and fractions have others.
_LOCAL = re.compile(
    b"(?:d{3}[ps]d{4}|d{4}[ps]d{4}|d{2}[ps]d{2}[ps]d{2}[ps]d{2}|d{3}[ps]d{2}[ps]d{2,3}|d{7,8})[ps]*"
)
_LONGEST_SHAPE = 64


@lru_cache(maxsize=4096)
def _kinds_of(shape: bytes) -> int:
    digits = shape.count(b"d")
    kinds = sum(kind for kind, pattern in _SHAPES if pattern.search(shape))
    if digits >= FEWEST:
        return kinds | ANY | (CARD if digits >= 12 else 0)
    return SHORT if _LOCAL.fullmatch(shape) else 0


@scan(FIGURE)
def figures(sheet: Sheet) -> list[Region]:
    """Runs of seven digits or more with nothing but separators between them, from the first digit on."""
    if b"d" * FEWEST not in sheet.together and not any(talk.search(sheet.lower) for talk in _TALK_OF_PHONES):
        return []
    apart = sheet.raw.translate(_DIGITS_APART)
    kinds, regions = sheet.kinds, []
    for found in _RUN_OF_DIGITS.finditer(apart):
        shape = found[0]
        kind = _kinds_of(shape) if len(shape) <= _LONGEST_SHAPE else ANY | SSN | AMERICAN | CARD
        if (
            kind
            and not (kind & DECIMAL and _is_decimal(sheet.raw, found.start()))
            and not (_beside_hexadecimal(sheet.raw, *found.span()) and _in_uuid(sheet.raw, *found.span()))
        ):
            region = found.span()
            kinds[region] = kind
            regions.append(region)
    return regions


def _is_decimal(raw: bytes, start: int) -> bool:
    """Coordinates, probabilities, seconds; a phone number only after a plus, or if a zero leads."""
    return raw[start - 1 : start] != b"+" and (raw[start] != _ZERO or raw[start + 1] == _POINT)


_ZERO, _POINT = b"0."


def _beside_hexadecimal(raw: bytes, start: int, end: int) -> bool:
    return (start > 0 and raw[start - 1] in _LETTERS_OF_UUIDS) or raw[
        end : end + 1
    ].lower() in _AFTER_DIGITS_OF_UUIDS


def _in_uuid(raw: bytes, start: int, end: int) -> bool:
    uuid = _UUID.search(raw, max(0, start - 36), end + 36)
    return uuid is not None and uuid.start() <= start and end <= uuid.end() + 1


_LETTERS_OF_UUIDS = b"abcdefABCDEF-"
_AFTER_DIGITS_OF_UUIDS = frozenset((b"a", b"b", b"c", b"d", b"e", b"f"))
_UUID = re.compile(rb"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")


def _of_kind(sheet: Sheet, kind: int) -> list[Region]:
    regions, kinds = sheet.regions(figures), sheet.kinds
    return [region for region in regions if kinds[region] & kind] if regions else []


@scan(FIGURE)
def numbers(sheet: Sheet) -> list[Region]:
    """Nine digits or more."""
    return _of_kind(sheet, ANY)


@scan(FIGURE)
def numbers_in_groups(sheet: Sheet) -> list[Region]:
    """Nine digits or more with something between them."""
    kinds = sheet.kinds
    return [region for region in sheet.regions(numbers) if not kinds[region] & BARE]


@scan(FIGURE)
def card_numbers(sheet: Sheet) -> list[Region]:
    """As many digits as a card's number has."""
    raw, kinds = sheet.raw, sheet.kinds
    return [
        region
        for region in _of_kind(sheet, CARD)
        if not kinds[region] & BARE
        or raw[region[0]] not in b"017"
        or raw[region[0] : region[0] + 4] == b"1800"
    ]


@scan(FIGURE)
def in_three_parts(sheet: Sheet) -> list[Region]:
    """Three digits, two and four."""
    return _of_kind(sheet, SSN)


@scan(FIGURE)
def american_numbers(sheet: Sheet) -> list[Region]:
    """Three digits, three and four."""
    return _of_kind(sheet, AMERICAN)


@scan(FIGURE)
def tax_numbers(sheet: Sheet) -> list[Region]:
    """Numbers in talk of taxes."""
    regions: list[Region] = []
    if not any(map(sheet.lower.__contains__, _TALK_OF_TAXES)):
        return regions
    for start, end in sheet.regions(numbers):
        around = sheet.lower[max(0, start - 48) : end + 24]
        if any(talk in around for talk in _TALK_OF_TAXES):
            regions.append((start, end))
    return regions


@scan(FIGURE)
def numbers_with_plus(sheet: Sheet) -> list[Region]:
    """Numbers with a plus in them or in front."""
    if b"+" not in sheet.raw:
        return []
    return [
        region
        for region in sheet.regions(numbers)
        if sheet.raw.find(b"+", max(region[0] - 4, 0), region[1]) >= 0
    ]


@scan(FIGURE)
def numbers_from_zero(sheet: Sheet) -> list[Region]:
    """Numbers that begin with two zeros."""
    return [region for region in sheet.regions(numbers) if sheet.raw.find(b"00", *region) >= 0]


@scan(FIGURE)
def unshaped_numbers(sheet: Sheet) -> list[Region]:
    """Numbers whose form does not say what they are, and short ones in talk of phones."""
    return [
        region
        for region in sheet.regions(phone_numbers)
        if not sheet.kinds[region] & SSN and sheet.raw[region[0] - 1 : region[0]] != b"+"
    ]


@scan(FIGURE)
def phone_numbers(sheet: Sheet) -> list[Region]:
    """Numbers, and shorter ones in talk of phones."""
    if not sheet.regions(figures):
        return []
    short = SHORT if any(talk.search(sheet.lower) for talk in _TALK_OF_PHONES) else 0
    return _of_kind(sheet, ANY | short)


@scan(FIGURE)
def lower_case_accounts(sheet: Sheet) -> list[Region]:
    """Two small letters and two digits, and after that at most a bank's letters in front of a number."""
    regions = []
    for start, _ in sheet.regions(numbers):
        begin = _BEGIN_OF_ACCOUNT.search(sheet.raw, max(0, start - 18), start)
        if begin is not None and begin[1] in _COUNTRIES:
            regions.append(begin.span(1))
    return regions


_COUNTRIES = frozenset(
    re.findall(
        rb"\S+",
        b"no be dk fi fk fo gl nl sd mk si at ba ee kz lt lu mn xk ch cr hr li lv bg bh de gb ge ie me rs va ae gi il iq om so"
        b" tl ad cz es md pk ro sa se sk tn vg ly pt st is tr bi dj fr gr it mc mr sm al az by cy do gt hu lb ni pl sv br eg"
        b" ps qa ua jo kw mu ye mt sc lc ru",
    )
)
_BEGIN_OF_ACCOUNT = re.compile(rb"([a-z]{2})(?:[0-9]{2}[a-z0-9 \-]{1,14})?\Z")
