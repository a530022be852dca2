"""Redacting structures: every text in them, keys included, and types kept.

A name says more than a text can: what stands under `password` goes as a whole, whatever it looks like, and ten digits
under `phone` are a phone number. JSON that comes as a text, as most tools' arguments do, is such a structure too.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
import uuid
from functools import lru_cache
from typing import Any, Protocol

from tokentrace_core.redaction_labels import telling_key

_DEPTH = 128
_LONGEST_REPEATED = 256
_LONGEST_DOCUMENT = 1_000_000
#: What a text begins with that may be a JSON document.
DOCUMENT_BEGINS = frozenset("{[ \n\t\r")
_OPEN = object()
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset)
_PRINTABLE = frozenset(
    {decimal.Decimal, uuid.UUID, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, complex}
)
#: Where a name and its value are two entries, as in lists of headers and of environment variables.
_NAMES, _VALUES = ("name", "key", "header", "field", "variable", "env"), ("value", "val", "content")
_PAIRS = re.compile(
    r"(?:proxy-?)?authorization|(?:set-?)?cookie|x-[\w-]+|.*(?:password|api[-_]?key|secret)", re.IGNORECASE
)


class TextRedactor(Protocol):
    """What a walk asks of the redactor."""

    def redact_inside(self, text: str, name: str = "", nesting: int = 0) -> str: ...

    def failed(self, length: int) -> str: ...


class Walk:
    """One structure, walked once. Shared containers are walked once; one that is still being walked contains itself."""

    def __init__(self, redactor: TextRedactor, nesting: int = 0, *, read: bool = False) -> None:
        self._read = read
        """Whether its texts have been redacted already, so that only names and documents in it tell more."""
        self._redactor = redactor
        self._nesting = nesting
        self._seen: dict[int, Any] = {}
        self._texts: dict[tuple[str, str], str] = {}

    def value(self, value: Any, depth: int = 0, name: str = "") -> Any:
        """`name`: the key that it stands under, if that says what its digits are."""
        kind = type(value)
        if kind is str:
            return self._text(value, name)
        if value is None or kind is bool:
            return value
        if kind is int or kind is float:
            return self._number(value, name)
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth, name)
        return self._other(value, name)

    def _text(self, text: str, name: str) -> str:
        """Rows of a table repeat themselves, so a walk remembers, and forgets it all when it ends."""
        if self._read and not name and text[:1] not in DOCUMENT_BEGINS:
            return text
        if len(text) > _LONGEST_REPEATED:
            return self._redactor.redact_inside(text, name, self._nesting)
        redacted = self._texts.get((text, name))
        if redacted is None:
            redacted = self._texts[text, name] = self._redactor.redact_inside(text, name, self._nesting)
        return redacted

    def _container(self, value: Any, depth: int, name: str) -> Any:
        if id(value) in self._seen:
            done = self._seen[id(value)]
            return self._redactor.failed(0) if done is _OPEN else done
        if depth >= _DEPTH:
            return self._redactor.failed(0)
        self._seen[id(value)] = _OPEN
        base = next(known for known in _CONTAINERS if issubclass(type(value), known))
        if base is dict:
            result: Any = self._mapping(value, depth + 1)
        else:
            items = list(base.__iter__(value))
            if (secret := _second_of_pair(items)) is not None:
                items[1] = secret
            result = base([self.value(item, depth + 1, name) for item in items])
        self._seen[id(value)] = result
        return result

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        taken: dict[str, int] = {}
        named = _placeholder_of_named(value)
        for key, item in dict.items(value):
            text = type(key) is str
            placeholder = telling_key(key) if text else None
            if placeholder is None and named is not None and key in _VALUES:
                placeholder = named
            if placeholder is not None and item is not None and item != "" and type(item) is not bool:
                item = placeholder
            else:
                item = self.value(item, depth, key if text and is_labelling(key) else "")
            result[_free_key(result, self.value(key, depth), taken)] = item
        return result

    def _number(self, value: float, name: str) -> Any:
        """Without a name only the length of a card number is worth a look, and most figures are far from it."""
        size = abs(value)
        if (
            (self._read and not name)
            or not (1e12 <= size < 1e19 or (name and 1e6 <= size < 1e15))
            or value != int(value)
        ):
            return value
        digits = str(abs(int(value)))
        redacted = self._redactor.redact_inside(digits, name, self._nesting)
        return value if redacted == digits else redacted

    def _other(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return self.value(str.__str__(value), 0, name)
        if type(value) is bytes:
            text = value.decode("utf-8", "surrogateescape")
            return self._redactor.redact_inside(text, name, self._nesting).encode("utf-8", "surrogateescape")
        if type(value) in _PRINTABLE:
            text = str(value)
            redacted = self._redactor.redact_inside(text, name, self._nesting)
            return value if redacted == text else redacted
        return self._redactor.failed(0)


_LABELLING = re.compile(
    r"phone|mobile|(?:^|[_\W])(?:tel|cell|fax|msisdn|ssn|social|tin|itin|iban)(?:$|[_\W\d])|telefon|whatsapp|contact"
    r"|[a-z](?:Tel|Fax|Cell)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def is_labelling(key: str) -> bool:
    """Whether a key says of digits under it what they are."""
    return len(key) <= 64 and _LABELLING.search(key) is not None


def _placeholder_of_named(value: dict[Any, Any]) -> str | None:
    """For `{"name": "DB_PASSWORD", "value": "..."}`."""
    if not any(name in value for name in _VALUES):
        return None
    names = (value.get(name) for name in _NAMES)
    return next((found for name in names if type(name) is str and (found := telling_key(name))), None)


def _second_of_pair(items: list[Any]) -> str | None:
    """For `["Authorization", "..."]`, as clients keep their headers."""
    if len(items) == 2 and all(type(item) is str for item in items) and _PAIRS.fullmatch(items[0]):
        return telling_key(items[0])
    return None


def _free_key(result: dict[Any, Any], key: Any, taken: dict[str, int]) -> Any:
    """Two keys may become the same placeholder; neither entry may be lost for it. `taken`: the numbers given out."""
    if key not in result or not isinstance(key, str):
        return key
    number = taken.get(key, 1) + 1
    while f"{key}#{number}" in result:
        number += 1
    taken[key] = number
    return f"{key}#{number}"


def redacted_document(text: str, redactor: TextRedactor, nesting: int = 0) -> str | None:
    """The text, if it is a JSON document in which a name gives away what the text did not; else None."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _LONGEST_DOCUMENT:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    redacted = Walk(redactor, nesting + 1, read=True).value(document)
    if redacted == document:
        return None
    indent = re.search(r"\n( +)\S", text)
    separators = (", " if indent is None else ",", ": ") if '": ' in text else (",", ":")
    width = len(indent[1]) if indent is not None else None
    return json.dumps(redacted, ensure_ascii=False, indent=width, separators=separators)
