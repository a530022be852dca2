"""Texts of the usual kinds, about 2 KB each, and one that is made to be slow."""

from __future__ import annotations

import json

_FOX = "the quick brown fox number {} jumps over the lazy dog of the order desk. "
_LETTER = "Dear Ada, write to ada.lovelace@example.org or call +1 415 555 0134 about order {}. "

PAGE = "".join(map(_FOX.format, range(28)))
ORDERS = json.dumps(
    [{"id": 10_000 + n, "total": 19.99 * n, "at": f"2026-11-{n % 28 + 1:02}"} for n in range(36)]
)
LETTERS = "".join(map(_LETTER.format, range(24)))
DOTTED = "aaaa." * 1_600
