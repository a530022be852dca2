"""The loose end of a reply that broke off: its last word may be half a secret, which no rule knows, so it is not kept.

Most of a card's digits are as private as all of them, and `ghp_` with half a token is still half a token. What looks
like neither a number, an address nor a key stays: a reply that ends in the middle of an ordinary word is told as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Read backwards: the last word, and before it those that may belong to one number with it.
_LOOSE = re.compile(r"\s*[!-~]*(?:\s[!-~]*\d[!-~]*|\s[A-Z]{1,4}(?=\s|\Z))*")
#: No number in groups is longer; a key, which may be, is one word.
_GROUPS = 256
_WORD = re.compile(r"[!-~]*")
_TELLING = re.compile(r"[\d@_/=+:%-]|[a-z][A-Z]")
#: Fewer characters give nobody away; so many make no ordinary word.
_HARMLESS, _ORDINARY = 6, 20
#: What names a part of a message and is no text of the model's.
_SHAPE = frozenset({"id", "index", "name", "role", "status", "tool_call_id", "type"})


def without_loose_end(value: Any) -> Any:
    """A message, or a part of one, in which every text ends before what may be half a secret."""
    if isinstance(value, str):
        return _without(value)
    if isinstance(value, list):
        return [*value[:-1], *map(without_loose_end, value[-1:])]
    if isinstance(value, Mapping):
        return {name: item if name in _SHAPE else without_loose_end(item) for name, item in value.items()}
    return value


def _without(text: str) -> str:
    backwards = text[: -_GROUPS - 1 : -1]
    loose = _LOOSE.match(backwards)
    length = loose.end() if loose else 0
    if length == _GROUPS and (word := _WORD.match(text[::-1])):
        length = max(length, word.end())
    kept, end = text[: len(text) - length], text[len(text) - length :]
    shown = len(end.strip())
    if shown < _HARMLESS or (shown <= _ORDINARY and _TELLING.search(end) is None):
        return text
    return f"{kept}[DROPPED len={length}]"
