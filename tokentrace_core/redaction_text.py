r"""The text as a person reads it, and where each of its characters stands in the original.

A number written in full-width digits, with an invisible character in its middle or as `%34%31` is still that number,
and a rule that knows only ASCII would let it pass. So the rules are given folded text: digits, dashes and blanks of
other scripts become their ASCII likeness, what is invisible goes, and the escapes of URLs, JSON and HTML are undone,
also where they are nested. `Folded.origin` says where a find stands in the text as it was.

Stretches that are masked already (placeholders, and secrets found before) are one NUL each. So a rule cannot see how
long a secret was, and sees a redacted text exactly as it saw the text that was redacted: nothing new is found in it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache

#: What a masked stretch reads as. An original NUL is taken for a masked stretch that stands for itself.
MASK = "\0"
#: Escapes inside escapes inside escapes; whoever nests deeper hides it from the reader as well.
_ROUNDS = 3


class Folded:
    """`text` is what the rules read. Built from the original and what is masked in it, as sorted (start, end)."""

    __slots__ = ("_steps", "text")

    def __init__(self, original: str, masked: Sequence[tuple[int, int]] = ()) -> None:
        self._steps: list[tuple[list[int], list[int]]] = []
        self.text = original
        if masked:
            self._rewrite([(start, end, MASK) for start, end in masked])
        if not self.text.isascii():
            self._unhide()
        if "%" in self.text or "&" in self.text or "\\" in self.text:
            self._unescape()

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]` stands in the original."""
        for ends, shifts in reversed(self._steps):
            start += shifts[bisect_right(ends, start)]
            end += shifts[bisect_right(ends, end)]
        return start, end

    def _unhide(self) -> None:
        if _HIDING.isdisjoint(self.text):
            return
        self.text = self.text.translate(_LOOKALIKES)
        if _INVISIBLE.search(self.text) is not None:
            self._rewrite([(*found.span(), "") for found in _INVISIBLE.finditer(self.text)])

    def _unescape(self) -> None:
        for _ in range(_ROUNDS):
            before = self.text
            for sign, escape, reader in _ESCAPES:
                if sign in self.text:
                    self._rewrite(
                        [
                            (*found.span(), plain)
                            for found in escape.finditer(self.text)
                            if (plain := reader(found)) is not None
                        ]
                    )
            if self.text is before:
                break
            if not self.text.isascii():
                self._unhide()
        if "\\" in self.text:
            for escape_of, blank in _LINE_ENDS:
                self.text = self.text.replace(escape_of, blank)

    def _rewrite(self, edits: list[tuple[int, int, str]]) -> None:
        """Replace stretches by one character or none each."""
        if not edits:
            return
        pieces: list[str] = []
        ends: list[int] = []
        shifts = [0]
        at = length = 0
        for start, end, plain in edits:
            pieces += self.text[at:start], plain
            length += start - at + len(plain)
            at = end
            ends.append(length)
            shifts.append(at - length)
        pieces.append(self.text[at:])
        self.text = "".join(pieces)
        self._steps.append((ends, shifts))


# --- characters of other scripts ---

_DIGIT_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50)
_LETTERLIKE = range(0x1D400, 0x1D800)
_LOOKALIKES = (
    {full: chr(full - 0xFEE0) for full in range(0xFF01, 0xFF5F)}
    | {zero + digit: str(digit) for zero in _DIGIT_ZEROS for digit in range(10)}
    | {code: unicodedata.normalize("NFKC", chr(code)) for code in _LETTERLIKE}
    | dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212, 0xFE58, 0xFE63), "-")
    | dict.fromkeys((0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " ")
    | {0x2024: ".", 0x3002: ".", 0xFE52: ".", 0xFE55: ":", 0xFE6B: "@", 0x2044: "/", 0x2215: "/", 0xFF61: "."}
    | dict.fromkeys((0x2018, 0x2019, 0x201A, 0x201B), "'")
    | dict.fromkeys((0x201C, 0x201D, 0x201E, 0x201F), '"')
)
_NOTHING = (
    *(0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0xFEFF),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
)
_INVISIBLE = re.compile(f"[{''.join(map(chr, _NOTHING))}]+")
#: A set, because it is ten times quicker to ask than a pattern of so many characters.
_HIDING = frozenset(map(chr, (*_LOOKALIKES, *_NOTHING)))


# --- escapes ---


def _percent(found: re.Match[str]) -> str | None:
    try:
        plain = bytes.fromhex(found[0].replace("%", "")).decode()
    except ValueError:
        return None
    return plain if plain != MASK else " "


def _backslash(found: re.Match[str]) -> str | None:
    code = int(found[1] or found[2] or found[3] or "2f", 16)
    if found[4]:  # the second half of a character that JSON writes as two
        code = 0x10000 + (code - 0xD800) * 0x400 + int(found[4], 16) - 0xDC00
    return chr(code) if 0 < code < 0x110000 else " "


def _entity(found: re.Match[str]) -> str | None:
    if found[3]:
        plain = _entities().get(found[3] + ";")
        return plain if plain is not None and len(plain) == 1 else None
    code = int(found[1]) if found[1] else int(found[2], 16)
    return chr(code) if 0 < code < 0x110000 else None


@cache
def _entities() -> dict[str, str]:
    from html.entities import html5

    return html5


_Reader = Callable[[re.Match[str]], str | None]
_ESCAPES: tuple[tuple[str, re.Pattern[str], _Reader], ...] = (
    ("%", re.compile(r"%(?:[0-7][0-9A-Fa-f]|[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3})"), _percent),
    (
        "\\",
        re.compile(
            r"(?<!\\)\\++(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|u\{([0-9A-Fa-f]{1,6})\}|/)"
            r"(?:(?<=u[dD][89ABab]..)\\++u([dD][C-Fc-f][0-9A-Fa-f]{2}))?"
        ),
        _backslash,
    ),
    ("&", re.compile(r"&(?:#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6})|([A-Za-z][A-Za-z0-9]{1,24}));"), _entity),
)
#: As long as the escape, so that positions stay.
_LINE_ENDS = (("\\n", " \n"), ("\\r", " \n"), ("\\t", " \t"))
