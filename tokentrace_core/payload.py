"""Everything a span carries as text is a `Payload`: a bounded plain snapshot, private until read, redacted when read.

The snapshot is taken on the calling thread, because a moment later the agent may change the object. Reading is
the costly part (redaction, JSON, hash). It happens at the first read, which is usually on the writer's thread,
and leaves only the redacted form behind. Nothing that receives a payload can hold the raw text, so a new sink
cannot leak it.

Strings that are too long are cut after redaction, not before: half a card number is no card number to any rule.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from tokentrace_core.redaction_policy import Policy
from tokentrace_core.snapshot import (
    DEFAULT,
    JSON,
    OVERLAP,
    Limits,
    Walk,
    canonical_json,
    snapshot,
    utf8_size,
)

__all__ = ["DEFAULT", "JSON", "Limits", "Payload", "canonical_json", "content_id", "snapshot"]


def content_id(text: str) -> str:
    """32 hex characters that only this text has."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Payload:
    """One value on its way to signals, store, logs and exports, readable only through `redactor`.

    `max_text`: characters per string, if fewer than `limits.text`. Equal content has an equal `id`. Copies and pickles
    hold the redacted form. Threads may read at once.
    """

    __slots__ = ("_id", "_json", "_measure", "_read", "_size", "_value", "held", "truncated")

    truncated: bool
    """Whether anything was left out."""
    held: int
    """Characters kept in memory, about."""

    def __init__(
        self, value: Any, redactor: Policy, *, limits: Limits = DEFAULT, max_text: int | None = None
    ) -> None:
        if max_text is not None:
            limits = _shorter(limits, max_text)
        walk = Walk(limits)
        raw = walk.whole(value)
        cut = walk.cut  # alone: the closures below must not keep the walk, which knows every container it met
        self.truncated = walk.truncated
        self.held = walk.held
        self._size = utf8_size(value) if type(value) is str else None
        self._value: JSON = None
        self._json: str | None = None
        self._id: str | None = None
        # In closures, because whatever lies in an attribute is found by a debugger, a pickler or an error reporter.
        self._read: Callable[[], JSON] | None = lambda: _redacted(raw, redactor, limits, cut)
        self._measure: Callable[[], int] | None = lambda: _json_size(raw)

    @property
    def value(self) -> JSON:
        """The redacted value, plain and JSON-like. Do not change it: the next reader gets the same object."""
        read = self._read
        if read is not None:
            # In this order, so that a second thread finds either the closures or what they gave.
            _ = self.size
            self._value = read()
            self._read = self._measure = None
        return self._value

    @property
    def text(self) -> str:
        """The redacted string if the value is one, else its canonical JSON."""
        value = self.value
        return value if isinstance(value, str) else self.json

    @property
    def json(self) -> str:
        """Canonical JSON of the redacted value."""
        if self._json is None:
            self._json = canonical_json(self.value)
        return self._json

    @property
    def id(self) -> str:
        """`content_id` of `json`."""
        if self._id is None:
            self._id = content_id(self.json)
        return self._id

    @property
    def size(self) -> int:
        """Bytes in UTF-8: of the original if it is a string (an estimate for non-ASCII text of over a million
        characters), else of the snapshot's JSON before redaction."""
        measure = self._measure
        if self._size is None and measure is not None:
            self._size = measure()
        return self._size or 0

    def __repr__(self) -> str:
        return f"Payload({self.text[:200]!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.value, self.size, self.truncated)

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value, "size": self.size, "truncated": self.truncated}


def _restored(value: JSON, size: int, truncated: bool) -> Payload:
    payload = Payload.__new__(Payload)
    payload._value, payload._size, payload.truncated = value, size, truncated
    payload.held = size
    payload._id = payload._json = payload._read = payload._measure = None
    return payload


@lru_cache(maxsize=64)
def _shorter(limits: Limits, max_text: int) -> Limits:
    return msgspec.structs.replace(limits, text=max(0, min(limits.text, max_text)))


def _redacted(raw: JSON, redactor: Policy, limits: Limits, cut: bool) -> JSON:
    try:
        value = redactor.redact(raw) if type(raw) is str else redactor.redact_value(raw)
        return _cut(raw, value, limits.text) if cut else value
    except Exception:
        return f"[REDACTION_FAILED len={_json_size(raw)}]"


def _json_size(raw: JSON) -> int:
    try:
        return len(msgspec.json.encode(raw))
    except Exception:
        return 0


# --- long strings: kept with an overlap, redacted, then cut ---

_CUT_MARK = re.compile(r" …\[truncated, original ([0-9]+) characters\]\Z")


def _cut(raw: JSON, value: JSON, limit: int) -> JSON:
    """Walks the snapshot next to its redacted form, because a rule may have rewritten the mark in the latter."""
    if isinstance(raw, str) and isinstance(value, str):
        return _cut_text(raw, value, limit)
    if isinstance(raw, list) and isinstance(value, list):
        return [_cut(before, after, limit) for before, after in zip(raw, value, strict=True)]
    if isinstance(raw, dict) and isinstance(value, dict):
        pairs = zip(raw.items(), value.items(), strict=True)
        return {_cut_text(a, b, limit): _cut(before, after, limit) for (a, before), (b, after) in pairs}
    return value


def _cut_text(raw: str, value: str, limit: int) -> str:
    """The overlap's end may be half a secret that no rule knows, so it never survives, however short the rest became."""
    mark = _CUT_MARK.search(raw, max(0, len(raw) - 64))
    if mark is None or mark.start() < min(limit + 1, int(mark[1])):
        return value
    body = value.removesuffix(mark[0])
    complete = mark.start() == int(mark[1])
    return body[: limit if complete else max(0, min(limit, len(body) - OVERLAP))] + mark[0]
