"""Where in a text a secret could stand at all, found so cheaply that clean text costs next to nothing.

A pattern with a class of characters in front costs ten times as much per character as a search for one literal. So a
text is translated, in one pass in C, into a map in which all digits are one byte and all separators another, and what
is looked for in the map is a literal. What a scan finds is kept on the `Sheet`: the rules that share it pay once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Region: TypeAlias = tuple[int, int]
Scan: TypeAlias = "Callable[[Sheet], list[Region]]"


class Sheet:
    """One folded text, its maps and what the scans found in it. In the maps, `characters` have the text's positions."""

    __slots__ = ("_found", "_lower", "kinds", "raw", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = text.encode("latin-1", "replace")
        self._lower: bytes | None = None
        self._found: dict[Scan, list[Region]] = {}
        self.kinds: dict[Region, int] = {}

    @property
    def lower(self) -> bytes:
        """ASCII letters in lower case, all else as in `raw`."""
        if self._lower is None:
            self._lower = self.raw.translate(_LOWER)
        return self._lower

    def regions(self, scan: Scan) -> list[Region]:
        found = self._found.get(scan)
        if found is None:
            found = self._found[scan] = scan(self)
        return found


def classes(**classes: bytes) -> bytes:
    """A translation: each class's characters become its name, all others a blank."""
    table = bytearray(b" " * 256)
    for name, members in classes.items():
        for member in members:
            table[member] = ord(name)
    return bytes(table)


DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER = bytes(range(256)).lower()
_TOKEN = classes(t=DIGITS + _LETTERS + b"_-")
_BASE64 = classes(b=DIGITS + _LETTERS + b"+/")

def accounts(sheet: Sheet) -> list[Region]:
    """Two capitals and two digits, as a bank account's number begins."""
    return [found.span() for found in _COUNTRY.finditer(sheet.raw.translate(_CAPITALS))]


_CAPITALS = classes(c=b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", d=DIGITS)
_COUNTRY = re.compile(b"ccdd")


def curls(sheet: Sheet) -> list[Region]:
    """All of a text in which `curl` or its like is called."""
    return [(0, len(sheet.text))] if _CURL.search(sheet.raw) is not None else []


_CURL = re.compile(b"curl")


def spelled_ats(sheet: Sheet) -> list[Region]:
    """`[at]`, `(at)` and their like, from the bracket on."""
    found = [found.span() for found in _SPELLED_AT.finditer(sheet.lower)]
    if b"@" in sheet.raw:
        found += [found.span() for found in _ENCLOSED_AT.finditer(sheet.raw)]
    return sorted(found)


_SPELLED_AT = re.compile(rb"at ?[\])}>]")
_ENCLOSED_AT = re.compile(rb"@ ?[\])}>]")


def spaced_ats(sheet: Sheet) -> list[Region]:
    """An `@` with a blank before or behind it."""
    if b"@" not in sheet.raw:
        return []
    signs = (found.start() for found in _AT.finditer(sheet.raw))
    return [(max(at - 1, 0), at + 1) for at in signs if b" " in sheet.raw[max(at - 1, 0) : at + 2]]


_AT = re.compile(b"@")


def dotted(sheet: Sheet) -> list[Region]:
    """Where four short numbers are parted by dots."""
    return [(max(0, found.start() - 3), found.end() + 3) for found in _DOTTED.finditer(sheet.raw)]


_DOTTED = re.compile(rb"\.[0-9]{1,3}\.[0-9]{1,3}\.(?=[0-9])")


def colons(sheet: Sheet) -> list[Region]:
    """Runs of hexadecimal groups with a double colon or several single ones, as in an IPv6 address."""
    regions: list[Region] = []
    shape = b""
    done = 0
    for found in _TWO_COLONS.finditer(sheet.raw):
        if found.start() >= done:
            shape = shape or sheet.raw.translate(_HEXADECIMAL)
            start = shape.rfind(b" ", 0, found.start()) + 1
            done = _end_of(shape, found.start())
            if sheet.raw.count(b":", start, done) > 5 or sheet.raw.find(b"::", start, done) >= 0:
                regions.append((start, done))
    return regions


_TWO_COLONS = re.compile(rb":(?::|[0-9A-Fa-f]{1,4}:)")
_HEXADECIMAL = classes(h=DIGITS + b"abcdefABCDEF:.")


def tokens(sheet: Sheet) -> list[Region]:
    """Long words of letters, digits, `_` and `-`: what keys are made of, and ids, and few words of a language."""
    return _runs(sheet.raw.translate(_TOKEN), b"t" * 16)


def dotted_tokens(sheet: Sheet) -> list[Region]:
    """Long words with a dot behind them."""
    return [region for region in sheet.regions(tokens) if sheet.raw[region[1] : region[1] + 1] == b"."]


def bot_tokens(sheet: Sheet) -> list[Region]:
    """Long words after a number and a colon, as the tokens of Telegram's bots are."""
    return [(start, end) for start, end in sheet.regions(tokens) if sheet.raw[start - 1 : start + 2] == b":AA"]


def base64(sheet: Sheet) -> list[Region]:
    """Stretches of exactly forty characters of base64, which is what a secret key of AWS looks like."""
    runs = _runs(sheet.raw.translate(_BASE64), b"b" * 40)
    # A sign in front is a patch's or a path's more often than the key's.
    apart = [(start + (end - start == 41 and sheet.raw[start] in b"+/"), end) for start, end in runs]
    return [(start, end) for start, end in apart if end - start == 40]


def urls(sheet: Sheet) -> list[Region]:
    """What follows `://`."""
    return [(found.start(), found.start() + 512) for found in _SCHEME_END.finditer(sheet.raw)]


_SCHEME_END = re.compile(b"://")


def tildes(sheet: Sheet) -> list[Region]:
    """Around `Q~`, which marks a client's secret of Azure."""
    if b"~" not in sheet.raw:
        return []
    return [(max(0, found.start() - 4), found.start() + 64) for found in _Q_TILDE.finditer(sheet.raw)]


_Q_TILDE = re.compile(b"Q~")


def _runs(shape: bytes, least: bytes) -> list[Region]:
    regions: list[Region] = []
    at = shape.find(least)
    while at >= 0:
        end = _end_of(shape, at)
        regions.append((at, end))
        at = shape.find(least, end)
    return regions


def _end_of(shape: bytes, at: int) -> int:
    end = shape.find(b" ", at)
    return end if end >= 0 else len(shape)


def telling_words(sheet: Sheet) -> list[Region]:
    """Names (`DB_PASSWORD`, `api-key`, `Authorization`) in which a word stands that announces a secret."""
    lower = sheet.lower
    starts = [found.start() for found in _WITH_K.finditer(lower)]
    for word in _TELLING:
        starts += [found.start() for found in word.finditer(lower)]
    if not sheet.text.isascii() and any(sign in sheet.text for sign in _FOREIGN_SIGNS):
        return sorted({*_names(sheet, starts), *(found.span() for found in _FOREIGN.finditer(sheet.text))})
    return _names(sheet, starts)


def _names(sheet: Sheet, starts: list[int]) -> list[Region]:
    if not starts:
        return []
    shape = sheet.raw.translate(_TOKEN)
    names = {}
    for at in starts:
        names[shape.rfind(b" ", 0, at) + 1] = _end_of(shape, at)
    return sorted(names.items())


_FOREIGN_SIGNS = "ñÑьЬłŁöÖ密口パ暗비şŞر"
_FOREIGN = re.compile(r"(?i:contraseña|пароль|hasło|lösenord|salasana|contrasenya|密码|密碼|口令|パスワード|暗証番号|비밀번호|şifre|كلمة المرور)")
#: Token, key and cookie at the rarest letter that they share.
_WITH_K = re.compile(b"k(?:en(?!s)|ey(?![bw])|ie)")
#: Patterns, because they are twice as quick as `in`.
_TELLING = tuple(map(re.compile, (b"pass", b"pwd", b"cre(?:d|t)", b"auth", b"bearer")))
