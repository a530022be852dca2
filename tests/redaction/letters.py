"""Random characters, of which made-up values consist."""

from __future__ import annotations

import string
from random import Random

WORD = string.ascii_letters + string.digits
URLSAFE = WORD + "_-"
HEXADECIMAL = "0123456789abcdef"


def letters(r: Random, count: int, alphabet: str = WORD) -> str:
    return "".join(r.choice(alphabet) for _ in range(count))


def digits(r: Random, count: int) -> str:
    return letters(r, count, string.digits)
