"""The types that can be read without running code of anybody else's: a table, and what to do about user classes.

A value is read through the method or descriptor of the base type that is known, never through the value itself:
a subclass of `str` or `datetime` may have overridden any of its own. Of user classes, only dataclasses,
`msgspec.Struct`s and pydantic models say which fields they have; these are taken from where they lie, the instance's
`__dict__` and slots, found through `type.__dict__`. All other classes stay a name.

To make a further type known is one row in `READERS`. Containers and bounds are the business of `snapshot.py`.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import pathlib
import types
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import Field
from typing import Any, TypeAlias

import msgspec

from tokentrace_core.blobs import HASHED, blob

JSON: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

#: What SQLite holds as an integer.
_INT64 = 1 << 63
#: A little under 4,300 digits, from where on Python refuses to print an integer.
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
    data = base.__getitem__(value, slice(None)) if size in HASHED else None  # type: ignore[index]
    return blob("application/octet-stream", size, data if data is None else bytes(data))


_TZINFO: Any = datetime.datetime.__dict__["tzinfo"]
_CLOCK = ("year", "month", "day", "hour", "minute", "second", "microsecond")
_OWN_ZONES = (type(None), datetime.timezone, zoneinfo.ZoneInfo)


def _datetime(value: datetime.datetime) -> str:
    """A zone of a foreign class would be asked for its offset, so the time is given without it."""
    if type(_TZINFO.__get__(value)) in _OWN_ZONES:
        return datetime.datetime.isoformat(value)
    parts = [getattr(datetime.datetime, name).__get__(value) for name in _CLOCK]
    return datetime.datetime(*parts).isoformat()


def _time(value: datetime.time) -> str:
    parts = [getattr(datetime.time, name).__get__(value) for name in _CLOCK[3:]]
    return datetime.time(*parts).isoformat()


def _uuid(value: uuid.UUID) -> str:
    return str(uuid.UUID(int=uuid.UUID.__dict__["int"].__get__(value)))


def _path(value: pathlib.PurePath) -> JSON:
    return str(value) if type(value) in _PATHS else {"$type": type_name(type(value))}


def enum_text(value: enum.Enum) -> Any:
    """A member's value where that is text, else its name."""
    inside = object.__getattribute__(value, "__dict__")
    return inside["_value_"] if type(inside.get("_value_")) is str else inside.get("_name_")


def storable(text: str) -> str:
    """Lone surrogates, which UTF-8 and SQLite refuse, become U+FFFD; pairs become their character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


_PATHS = (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
#: By identity of the exact type, for the most frequent ones.
PLAIN: dict[int, Callable[[Any], JSON]] = {id(int): _int, id(float): _float, id(bytes): _bytes}
#: The first base that fits reads the value, so `datetime` stands before `date`, its base.
READERS: tuple[tuple[Any, Callable[[Any], JSON]], ...] = (
    (str, str.__str__),
    (int, lambda value: _int(int.__index__(value))),
    (float, lambda value: _float(float.__float__(value))),
    (bytes, _bytes),
    (bytearray, _bytes),
    (memoryview, lambda value: blob("application/octet-stream", value.nbytes, None)),
    (datetime.datetime, _datetime),
    (datetime.date, datetime.date.isoformat),
    (datetime.time, _time),
    (datetime.timedelta, datetime.timedelta.__str__),
    (decimal.Decimal, decimal.Decimal.__str__),
    (uuid.UUID, _uuid),
    (pathlib.PurePath, _path),
)

# Descriptors taken from `type` itself: asking the class could run its metaclass.
_MRO: Any = type.__dict__["__mro__"]
_NAMESPACE: Any = type.__dict__["__dict__"]
_QUALNAME: Any = type.__dict__["__qualname__"]
_ARGS: Any = BaseException.__dict__["args"]


def _namespaces(kind: type) -> list[Any]:
    return [_NAMESPACE.__get__(base) for base in _MRO.__get__(kind)]


def type_name(kind: type) -> str:
    """`module.Class`, whatever a metaclass says about it."""
    module = _NAMESPACE.__get__(kind).get("__module__")
    if type(module) is not str:
        module = "builtins"
    return storable(f"{module}.{_QUALNAME.__get__(kind)}"[:200])


def exception_args(error: BaseException) -> list[str]:
    """Those that are text or a number; the others would have to be asked what they say."""
    return [str(arg) for arg in _ARGS.__get__(error) if type(arg) in (str, int, float, bool)]


def fields_of(value: Any, kind: type) -> Iterator[tuple[str, Any]] | None:
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
