"""One text as the rules see it: a map of bytes, and which signs of something private are in it at all.

Most texts hold nothing private, and most of those not even a sign of it: an `@`, a row of digits, a long word, a name
that announces a secret. A pattern with a class of characters in front costs ten times as much per character as a search
for one literal, so a text is translated, in one pass in C, into a map in which all digits are one byte, and what is
looked for in the map is a literal. A scan is run only if the text has its signs, and its regions are kept: the rules
that share it pay once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

Region: TypeAlias = tuple[int, int]


class Scan:
    """Where in a text its rules look. `signs`: run only if the text has all of them. Regions that overlap are searched
    as one, unless they are `apart`."""

    __slots__ = ("apart", "find", "signs")

    def __init__(self, find: Callable[[Sheet], list[Region]], signs: int = 0, apart: bool = False) -> None:
        self.find = find
        self.signs = signs
        self.apart = apart


def scan(signs: int = 0, *, apart: bool = False) -> Callable[[Callable[[Sheet], list[Region]]], Scan]:
    """Makes a function a `Scan`."""
    return lambda find: Scan(find, signs, apart)


#: An `@`, a colon, a tilde, a closing bracket; digits, a row of them, as many as an account has; a long word; a name
#: that announces a secret.
AT, COLON, TILDE, BRACKET, DIGIT, FIGURE, ACCOUNT, LONG, TELLING = (1 << bit for bit in range(9))
#: The fewest digits of a number with a meaning, and of one that only its label tells (a local phone number).
FEWEST, FEWEST_OF_PHONE = 9, 7
_FEWEST_OF_PHONE, _LONG_WORD = b"d" * FEWEST_OF_PHONE, b"t" * 16


class Sheet:
    """One folded text, its maps and what the scans found in it. What is in a map stands where it does in `text`."""

    __slots__ = ("_found", "kinds", "lower", "notes", "raw", "shape", "signs", "telling", "text", "together")

    def __init__(self, text: str) -> None:
        self.text = text
        self.raw = raw = text.encode("latin-1", "replace")
        self.lower = raw.translate(_LOWER)
        """ASCII letters in lower case, all else as in `raw`."""
        self.shape = raw.translate(_WORDS)
        """`t` for what long words are made of, all else blank."""
        self.together = raw.translate(_DIGITS_ALONE, SEPARATORS)
        """`d` for digits, separators left out."""
        words = _TELLING_WORDS if len(raw) > _SHORT else _ANY_TELLING_WORD
        self.telling = [found.start() for word in words for found in word.finditer(self.lower)]
        """Where a word stands that announces a secret."""
        self.kinds: dict[Region, int] = {}
        self.notes: dict[object, Any] = {}
        """What scans leave for each other, each under a key of its own."""
        self.signs = self._signs()
        self._found: dict[Scan, list[Region]] = {}

    def _signs(self) -> int:
        raw, signs = self.raw, 0
        if b"@" in raw:
            signs |= AT
        if b":" in raw:
            signs |= COLON
        if b"~" in raw:
            signs |= TILDE
        if b")" in raw or b"]" in raw or b"}" in raw or b">" in raw:
            signs |= BRACKET
        if digits := self.together.count(b"d"):
            signs |= DIGIT
            if digits >= FEWEST_OF_PHONE and _FEWEST_OF_PHONE in self.together:
                signs |= FIGURE
            if digits >= FEWEST:
                signs |= ACCOUNT
        if _LONG_WORD in self.shape:
            signs |= LONG
        if self.telling or self.foreign:
            signs |= TELLING
        return signs

    @property
    def foreign(self) -> bool:
        """Whether it has letters with which a word for a password is written in some other alphabet."""
        return not self.text.isascii() and any(map(self.text.__contains__, _FOREIGN_SIGNS))

    def regions(self, scan: Scan) -> list[Region]:
        if scan.signs & ~self.signs:
            return []
        found = self._found.get(scan)
        if found is None:
            found = self._found[scan] = scan.find(self)
        return found


def classes(**classes: bytes) -> bytes:
    """A translation: each class's characters become its name, all others a blank."""
    table = bytearray(b" " * 256)
    for name, members in classes.items():
        for member in members:
            table[member] = ord(name)
    return bytes(table)


DIGITS = b"0123456789"
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SEPARATORS = b" ().+-_/>\n\r\t"
_LOWER = bytes(range(256)).lower()
_WORDS = classes(t=DIGITS + LETTERS + b"_-")
_DIGITS_ALONE = classes(d=DIGITS)
_FOREIGN_SIGNS = "ñÑьЬłŁöÖ密口パ暗비şŞر"
#: Patterns, because they are twice as quick as `in`. Token, key and cookie at the rarest letter that they share.
_TELLING_WORDS = tuple(
    map(
        re.compile,
        (
            *(
                b"k(?:en(?!s)|ey(?![bw])|ie)",
                b"pass",
                b"pwd",
                b"cre[dt]",
                b"auth",
                b"bearer",
                b"p(?:w[:=]|sk)",
            ),
            *(b"senha", b"twoord"),
        ),
    )
)
#: As one pattern, which costs less where a text is shorter than so many characters.
_ANY_TELLING_WORD = (re.compile(b"|".join(word.pattern for word in _TELLING_WORDS)),)
_SHORT = 1_000
