"""A plain, bounded copy of any object, taken without running code of the types it meets.

The copy is plain (dict, list, str, int, float, bool, None) and bounded in every direction. No `__repr__`, no
`__iter__`, no property of a type that is not known is called: a lazy ORM row stays lazy, a socket stays a name.

What a snapshot cannot show, it names: `{"$type": "module.Class"}`, `{"$blob": {mime, size, sha256}}`,
`{"$truncated": "depth" | "nodes" | "text" | "items"}`, `{"$cycle": true}`.

Here is the walk and its bounds; `known_types.py` knows which types can be read, and how.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from tokentrace_core.blobs import HASHED, base64_mime, blob
from tokentrace_core.known_types import (
    JSON,
    PLAIN,
    READERS,
    SEQUENCES,
    enum_text,
    exception_args,
    fields_of,
    storable,
    type_name,
)

__all__ = [
    "DEFAULT",
    "JSON",
    "OVERLAP",
    "Limits",
    "Walk",
    "canonical_json",
    "cut_mark",
    "snapshot",
    "utf8_size",
]

#: Characters kept beyond the limit of a long string, for whoever redacts it before the final cut.
OVERLAP = 512
#: What a value takes in memory beside its text, in characters.
_PER_VALUE = 32


class Limits(msgspec.Struct, frozen=True):
    """How much of a value a snapshot keeps.

    `depth`: nested containers. `items`: per container. `nodes`: values in total. `text`: characters per string.
    `total_text`: characters of all strings together. `blob`: from how many characters on a base64 string or data URL
    is replaced by its size and hash.
    """

    depth: int = 32
    items: int = 1_000
    nodes: int = 20_000
    text: int = 1_000_000
    total_text: int = 8_000_000
    blob: int = 4_096


DEFAULT = Limits()


def snapshot(value: Any, limits: Limits = DEFAULT) -> JSON:
    """A plain, bounded copy of any object. Never raises and runs no code of a type it does not know.

    Raw, not redacted. Strings over `limits.text` keep 512 characters more and a mark with their original length;
    `Payload` makes the final cut once they are redacted.
    """
    return Walk(limits).whole(value)


def canonical_json(value: Any) -> str:
    """The same JSON text for equal values: keys sorted, no blanks. What JSON cannot hold appears as its snapshot."""
    try:
        return msgspec.json.encode(value, order="deterministic").decode()
    except Exception:
        return msgspec.json.encode(snapshot(value), order="deterministic").decode()


def cut_mark(length: int) -> str:
    return f" …[truncated, original {length} characters]"


class Walk:
    """One snapshot: what is left of its bounds, and which containers are open."""

    __slots__ = ("chars", "cut", "limits", "nodes", "open", "truncated")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.nodes = limits.nodes
        self.chars = limits.total_text
        self.open: set[int] = set()
        self.cut = False
        self.truncated = False

    @property
    def held(self) -> int:
        """Characters that the copy keeps, with some for each value."""
        return self.limits.total_text - self.chars + _PER_VALUE * (self.limits.nodes - self.nodes)

    def whole(self, value: Any) -> JSON:
        try:
            return self.value(value, 0)
        except Exception:
            self.truncated = True
            return {"$type": "unreadable"}

    def value(self, value: Any, depth: int) -> JSON:
        kind = type(value)
        if kind is str:
            return self.text(value)
        if value is None or kind is bool:
            return value  # type: ignore[no-any-return]
        # By identity: hashing an unknown class may run its metaclass.
        known = PLAIN.get(id(kind))
        if known is not None:
            return known(value)
        if kind is dict or kind is list:
            return self.container(value, kind, depth)
        try:
            return self.other(value, kind, depth)
        except Exception:
            # One odd object must not cost its neighbours.
            self.truncated = True
            return {"$type": type_name(kind)}

    def text(self, text: str) -> JSON:
        length = len(text)
        if length > self.limits.blob and (mime := base64_mime(text)) is not None:
            self.truncated = True
            return blob(mime, length, text.encode("utf-8", "replace") if length in HASHED else None)
        self.chars -= min(length, self.limits.text)
        if self.chars < 0:
            return self.left_out("text")
        if length > self.limits.text:
            self.cut = self.truncated = True
            text = text[: self.limits.text + OVERLAP] + cut_mark(length)
        return text if text.isascii() else storable(text)

    def left_out(self, what: str, count: int | None = None) -> dict[str, Any]:
        self.truncated = True
        return {"$truncated": what} if count is None else {"$truncated": what, "count": count}

    def container(
        self, value: Any, kind: type, depth: int, fields: Iterator[tuple[str, Any]] | None = None
    ) -> JSON:
        """A dict, a sequence or, with `fields`, an instance of a class that has them."""
        if depth >= self.limits.depth:
            return self.left_out("depth")
        if id(value) in self.open:
            self.truncated = True
            return {"$cycle": True}
        self.open.add(id(value))
        try:
            if issubclass(kind, dict):
                return self.mapping(dict.items(value), dict.__len__(value), depth + 1)
            if fields is not None:
                return self.record(fields, depth + 1)
            return self.sequence(value, kind, depth + 1)
        finally:
            self.open.discard(id(value))

    def mapping(self, items: Iterable[tuple[Any, Any]], count: int, depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        pairs = _first(items, self.limits.items)
        for key, item in pairs:
            self.nodes -= 1
            if self.nodes < 0:
                plain["$truncated"] = self.left_out("nodes", count)
                return plain
            name = key if type(key) is str and len(key) <= 64 and key.isascii() else self.key(key, depth)
            plain[_free(plain, name) if name in plain else name] = self.value(item, depth)
        if count > len(pairs):
            plain["$truncated"] = self.left_out("items", count)
        return plain

    def key(self, key: Any, depth: int) -> str:
        plain = self.value(key, depth)
        return plain if isinstance(plain, str) else canonical_json(plain)

    def sequence(self, value: Any, kind: type, depth: int) -> list[Any]:
        base = next(known for known in SEQUENCES if issubclass(kind, known))
        count = base.__len__(value)
        plain: list[Any] = []
        items = _first(base.__iter__(value), self.limits.items)
        for item in items:
            self.nodes -= 1
            if self.nodes < 0:
                plain.append(self.left_out("nodes", count))
                return plain
            plain.append(self.value(item, depth))
        if issubclass(base, (set, frozenset)):
            # A set has another order in another process, and equal sets must have equal ids.
            plain.sort(key=canonical_json)
        if count > len(items):
            plain.append(self.left_out("items", count))
        return plain

    def other(self, value: Any, kind: type, depth: int) -> JSON:
        if issubclass(kind, enum.Enum):
            return self.value(enum_text(value), depth)
        for base, reader in READERS:
            if issubclass(kind, base):
                text = reader(value)
                return self.text(text) if type(text) is str else text
        if issubclass(kind, (dict, *SEQUENCES)):
            return self.container(value, kind, depth)
        if issubclass(kind, BaseException):
            return self.exception(value, kind)
        fields = fields_of(value, kind)
        if fields is None:
            return {"$type": type_name(kind)}
        return self.container(value, kind, depth, fields)

    def record(self, fields: Iterator[tuple[str, Any]], depth: int) -> JSON:
        shown = [(name, item) for name, item in fields if not name.startswith("_")]
        return self.mapping(shown, len(shown), depth)

    def exception(self, value: BaseException, kind: type) -> JSON:
        parts = exception_args(value)
        message = self.text(", ".join(parts)) if parts else ""
        return {"$type": type_name(kind), "message": message}


def _first(items: Iterable[Any], count: int) -> list[Any]:
    """Copied in one go, in C, so that no other thread can change the container half way; if one does, once more."""
    for _ in range(3):
        try:
            return list(islice(items, count))
        except RuntimeError:
            continue
    return []


def _free(taken: dict[str, Any], name: str) -> str:
    """1 and "1" are two keys of a dict and one key of a JSON object."""
    number = 2
    while f"{name}#{number}" in taken:
        number += 1
    return f"{name}#{number}"


#: Encoding 50 MB only to learn their size takes too long.
_COUNTED = 1_000_000


def utf8_size(text: str) -> int:
    """Exact, except for non-ASCII text of over a million characters, where the first million stands for the rest."""
    if text.isascii():
        return len(text)
    head = text[:_COUNTED]
    return len(head.encode("utf-8", "surrogatepass")) * len(text) // len(head)
