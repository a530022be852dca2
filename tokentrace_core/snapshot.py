"""A plain, bounded copy of any object, taken without running code of the types it meets.

The copy is plain (dict, list, str, int, float, bool, None) and bounded in every direction. No `__repr__`, no
`__iter__`, no property of a type that is not known is called: a lazy ORM row stays lazy, a socket stays a name.

What a snapshot cannot show, it names: `{"$type": "module.Class"}`, `{"$blob": {mime, size, sha256}}`,
`{"$truncated": "depth" | "nodes" | "text" | "items"}`, `{"$cycle": true}`.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import math
import pathlib
import re
import types
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field
from itertools import islice
from typing import Any, TypeAlias

import msgspec

JSON: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

#: Characters kept beyond the limit of a long string, for whoever redacts it before the final cut.
OVERLAP = 512


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
        known = _PLAIN.get(id(kind))
        if known is not None:
            return known(value)
        if kind is dict or kind is list:
            return self.container(value, kind, depth)
        try:
            return self.other(value, kind, depth)
        except Exception:
            # One odd object must not cost its neighbours.
            self.truncated = True
            return {"$type": _type_name(kind)}

    def text(self, text: str) -> JSON:
        length = len(text)
        if length > self.limits.blob and (mime := _base64_mime(text)) is not None:
            self.truncated = True
            return _blob(mime, length, text.encode("utf-8", "replace") if length in _HASHED else None)
        self.chars -= min(length, self.limits.text)
        if self.chars < 0:
            return self.left_out("text")
        if length > self.limits.text:
            self.cut = self.truncated = True
            text = text[: self.limits.text + OVERLAP] + cut_mark(length)
        return text if text.isascii() else _storable(text)

    def left_out(self, what: str, count: int | None = None) -> dict[str, Any]:
        self.truncated = True
        return {"$truncated": what} if count is None else {"$truncated": what, "count": count}

    def container(self, value: Any, kind: type, depth: int) -> JSON:
        if depth >= self.limits.depth:
            return self.left_out("depth")
        if id(value) in self.open:
            self.truncated = True
            return {"$cycle": True}
        self.open.add(id(value))
        try:
            if issubclass(kind, dict):
                return self.mapping(dict.items(value), dict.__len__(value), depth + 1)
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
        base = next(known for known in _SEQUENCES if issubclass(kind, known))
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
            return self.value(_enum_text(value), depth)
        for base, reader in _READERS:
            if issubclass(kind, base):
                text = reader(value)
                return self.text(text) if type(text) is str else text
        if issubclass(kind, (dict, *_SEQUENCES)):
            return self.container(value, kind, depth)
        if issubclass(kind, BaseException):
            return self.exception(value, kind)
        fields = _fields(value, kind)
        if fields is None:
            return {"$type": _type_name(kind)}
        return self.record(value, fields, depth)

    def record(self, value: Any, fields: Iterator[tuple[str, Any]], depth: int) -> JSON:
        if depth >= self.limits.depth:
            return self.left_out("depth")
        if id(value) in self.open:
            self.truncated = True
            return {"$cycle": True}
        self.open.add(id(value))
        try:
            shown = [(name, item) for name, item in fields if not name.startswith("_")]
            return self.mapping(shown, len(shown), depth + 1)
        finally:
            self.open.discard(id(value))

    def exception(self, value: BaseException, kind: type) -> JSON:
        args = _ARGS.__get__(value)
        parts = [str(arg) for arg in args if type(arg) in (str, int, float, bool)]
        message = self.text(", ".join(parts)) if parts else ""
        return {"$type": _type_name(kind), "message": message}


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


# --- text ---

_SAMPLES, _SAMPLE = 8, 64
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-=\r\n]+")
_DATA_URL = re.compile(r"data:([\w.+\-]{1,60}/[\w.+\-]{1,80})?[^,]{0,80};base64,")
_DISTINCT = 12


def _base64_mime(text: str) -> str | None:
    """The media type if the string is encoded bytes, judged by samples: reading all of 50 MB takes too long."""
    url = _DATA_URL.match(text)
    if url is not None:
        return url[1] or "text/plain"
    step = (len(text) - _SAMPLE) // (_SAMPLES - 1)
    samples = [text[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
    encoded = all(map(_BASE64.fullmatch, samples)) and len(set("".join(samples))) >= _DISTINCT
    return "application/octet-stream" if encoded else None


_HASHED = range(64, 8_000_001)


def _blob(mime: str, size: int, data: bytes | None) -> dict[str, Any]:
    """Size in bytes as met. No hash of a few bytes, which could be guessed, nor of so many that hashing is felt."""
    blob: dict[str, Any] = {"mime": mime, "size": size}
    if data is not None and len(data) in _HASHED:
        blob["sha256"] = hashlib.sha256(data).hexdigest()
    return {"$blob": blob}


def _storable(text: str) -> str:
    """Lone surrogates, which UTF-8 and SQLite refuse, become U+FFFD; pairs become their character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_COUNTED = 1_000_000


def utf8_size(text: str) -> int:
    """Exact, except for non-ASCII text of over a million characters, where the first million stands for the rest."""
    if text.isascii():
        return len(text)
    head = text[:_COUNTED]
    return len(head.encode("utf-8", "surrogatepass")) * len(text) // len(head)


# --- types that are known, read through the base type's own methods ---

_INT64 = 1 << 63
_PRINTABLE_BITS = 14_000


def _int(value: int) -> JSON:
    if -_INT64 <= value < _INT64:
        return value
    bits = value.bit_length()
    return str(value) if bits <= _PRINTABLE_BITS else {"$type": "int", "bits": bits}


def _float(value: float) -> JSON:
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes | bytearray) -> JSON:
    base = bytes if issubclass(type(value), bytes) else bytearray
    size = base.__len__(value)  # type: ignore[arg-type]
    data = base.__getitem__(value, slice(None)) if size in _HASHED else None  # type: ignore[index]
    return _blob("application/octet-stream", size, data if data is None else bytes(data))


_TZINFO: Any = datetime.datetime.__dict__["tzinfo"]
_OWN_ZONES = (type(None), datetime.timezone, zoneinfo.ZoneInfo)


def _datetime(value: datetime.datetime) -> str:
    """A zone of a foreign class would be asked for its offset, so the time is given without it."""
    if type(_TZINFO.__get__(value)) in _OWN_ZONES:
        return datetime.datetime.isoformat(value)
    parts = [getattr(datetime.datetime, name).__get__(value) for name in _CLOCK]
    return datetime.datetime(*parts).isoformat()


_CLOCK = ("year", "month", "day", "hour", "minute", "second", "microsecond")


def _time(value: datetime.time) -> str:
    parts = [getattr(datetime.time, name).__get__(value) for name in _CLOCK[3:]]
    return datetime.time(*parts).isoformat()


def _uuid(value: uuid.UUID) -> str:
    return str(uuid.UUID(int=uuid.UUID.__dict__["int"].__get__(value)))


def _path(value: pathlib.PurePath) -> JSON:
    return str(value) if type(value) in _PATHS else {"$type": _type_name(type(value))}


def _enum_text(value: enum.Enum) -> Any:
    """A member's value where that is text, else its name."""
    inside = object.__getattribute__(value, "__dict__")
    return inside["_value_"] if type(inside.get("_value_")) is str else inside.get("_name_")


_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_PLAIN: dict[int, Callable[[Any], JSON]] = {id(int): _int, id(float): _float, id(bytes): _bytes}
_READERS: tuple[tuple[Any, Callable[[Any], JSON]], ...] = (
    (str, str.__str__),
    (int, lambda value: _int(int.__index__(value))),
    (float, lambda value: _float(float.__float__(value))),
    (bytes, _bytes),
    (bytearray, _bytes),
    (memoryview, lambda value: _blob("application/octet-stream", value.nbytes, None)),
    (datetime.datetime, _datetime),
    (datetime.date, datetime.date.isoformat),
    (datetime.time, _time),
    (datetime.timedelta, datetime.timedelta.__str__),
    (decimal.Decimal, decimal.Decimal.__str__),
    (uuid.UUID, _uuid),
    (pathlib.PurePath, _path),
)


# --- classes of the user's, read without asking them ---

_MRO: Any = type.__dict__["__mro__"]
_NAMESPACE: Any = type.__dict__["__dict__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_ARGS: Any = BaseException.__dict__["args"]


def _namespaces(kind: type) -> list[Any]:
    return [_NAMESPACE.__get__(base) for base in _MRO.__get__(kind)]


def _type_name(kind: type) -> str:
    """`module.Class`, whatever a metaclass says about it."""
    module = _NAMESPACE.__get__(kind).get("__module__")
    if type(module) is not str:
        module = "builtins"
    return _storable(f"{module}.{_QUALNAME.__get__(kind)}"[:200])


def _fields(value: Any, kind: type) -> Iterator[tuple[str, Any]] | None:
    """Names and values of a dataclass, a msgspec.Struct or a pydantic model; None for every other class.

    Fields that a dataclass keeps out of its repr stay out here too: its author had a reason.
    """
    spaces = _namespaces(kind)
    if issubclass(kind, msgspec.Struct):
        return _stored(value, spaces, list(_STRUCT_FIELDS.__get__(kind)))
    for space in spaces:
        declared: Any
        if (declared := space.get("__dataclass_fields__")) is not None:
            if type(declared) is not dict:
                return None
            return _stored(
                value,
                spaces,
                [name for name, field in declared.items() if type(field) is Field and field.repr],
            )
        if (declared := space.get("__pydantic_fields__")) is not None:
            return _stored(value, spaces, list(declared), extra="__pydantic_extra__")
    return None


def _stored(value: Any, spaces: list[Any], names: list[str], extra: str = "") -> Iterator[tuple[str, Any]]:
    """What lies in the instance's `__dict__` and slots. Properties have no place there and are not called."""
    instance = _slot(value, spaces, "__dict__")
    inside = dict(instance) if type(instance) is dict else {}
    for name in names:
        item = inside[name] if name in inside else _slot(value, spaces, name)
        if item is not _EMPTY:
            yield name, item
    more = _slot(value, spaces, extra) if extra else None
    if type(more) is dict:
        yield from [pair for pair in more.items() if type(pair[0]) is str]


def _slot(value: Any, spaces: list[Any], name: str) -> Any:
    for space in spaces:
        descriptor = space.get(name)
        if type(descriptor) in _SLOTS:
            try:
                return descriptor.__get__(value)
            except AttributeError:
                return _EMPTY
    return _EMPTY


_STRUCT_FIELDS: Any = type(msgspec.Struct).__dict__["__struct_fields__"]
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_EMPTY = object()
