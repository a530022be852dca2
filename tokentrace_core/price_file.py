"""Prices in a file, TOML or JSON, so that those who negotiate them need not write Python.

    free = ["ollama", "my-own-*"]

    [models."gpt-4o"]
    input = 2.25
    output = 9
    since = 2026-07-01

    [aliases]
    "our-deployment" = "gpt-4o"

    [discounts]
    anthropic = 0.15

    [tools]
    web_search = 0.01

A table that has several versions is written as a list of them, each with `since`. Whatever is not understood is
refused with its place: a misspelt price would otherwise be no price.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tokentrace_core.errors import TokentraceError
from tokentrace_core.own_prices import Discount, ModelPrice

_SECTIONS = ("models", "aliases", "discounts", "free", "tools")


def read(path: Path) -> dict[str, Any]:
    """The arguments of a `PriceBook`. Raises `TokentraceError` with the place of whatever is wrong."""
    document = _parse(path)
    if not isinstance(document, Mapping):
        raise TokentraceError(f"{path}: the file must be a table of {', '.join(_SECTIONS)}")
    if unknown := [name for name in document if name not in _SECTIONS]:
        raise TokentraceError(f"{path}: {unknown[0]!r} is unknown; it may have {', '.join(_SECTIONS)}")
    return {
        "overrides": _each(path, document, "models", ModelPrice),
        "aliases": _texts(path, document),
        "discounts": _each(path, document, "discounts", Discount),
        "free": _names(path, document),
        "tools": _each(path, document, "tools", None),
    }


def _parse(path: Path) -> Any:
    try:
        text = path.read_text("utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text, parse_float=Decimal)
        return tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise TokentraceError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise TokentraceError(f"{path} is neither TOML nor JSON: {error}") from error


def _each(path: Path, document: Mapping[str, Any], section: str, kind: type[Any] | None) -> dict[str, Any]:
    made = {}
    for name, entry in _table(path, document, section).items():
        try:
            made[name] = _made(entry, kind)
        except (ValueError, TypeError, KeyError) as error:
            raise TokentraceError(f"{path}: [{section}] {name!r}: {error}") from error
    return made


def _made(entry: Any, kind: type[Any] | None) -> Any:
    """A number, or what a table says, or several of them."""
    if isinstance(entry, list):
        return [_made(one, kind) for one in entry]
    if not isinstance(entry, Mapping):
        if kind is Discount:
            return Discount(off=entry)
        if kind is ModelPrice or isinstance(entry, bool) or not isinstance(entry, Decimal | int | str):
            raise ValueError(f"{entry!r} is no price")
        return entry
    if kind is None:
        raise ValueError("it takes a number of dollars")
    fields = kind.__struct_fields__
    if unknown := [name for name in entry if name not in fields]:
        raise ValueError(f"{unknown[0]!r} is unknown; it may have {', '.join(fields)}")
    needed = {field.name for field in msgspec.structs.fields(kind) if field.required}
    if missing := sorted(needed - entry.keys()):
        raise ValueError(f"{missing[0]!r} is missing")
    values = dict(entry)
    if values.get("above") is not None:
        values["above"] = {int(limit): _made(price, kind) for limit, price in values["above"].items()}
    return kind(**values)


def _texts(path: Path, document: Mapping[str, Any]) -> dict[str, str]:
    table = _table(path, document, "aliases")
    for name, model in table.items():
        if not isinstance(model, str):
            raise TokentraceError(f"{path}: [aliases] {name!r}: {model!r} is no model's name")
    return table


def _names(path: Path, document: Mapping[str, Any]) -> list[str]:
    free = document.get("free", [])
    if not isinstance(free, list) or not all(isinstance(name, str) for name in free):
        raise TokentraceError(f"{path}: free must be a list of models or providers")
    return free


def _table(path: Path, document: Mapping[str, Any], section: str) -> dict[str, Any]:
    table = document.get(section, {})
    if not isinstance(table, dict):
        raise TokentraceError(f"{path}: {section} must be a table")
    return table
