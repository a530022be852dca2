"""What could not be stored: counted by reason, and said in the log.

A span is lost while its last state is not in the file. It counts once, however often it was tried, and no longer
when it is written after all: spans that ended = spans stored + losses. The counts go into the file, too, as soon as
it can be written, so that whoever reads it knows what is not in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokentrace_core.spans import LLMCall, Step, ToolCall

if TYPE_CHECKING:
    import sqlite3

log = logging.getLogger("tokentrace")

_SAY_EVERY_S = 60.0
#: Beyond so many, the oldest stay counted for good: a file that is never writable must not fill the memory.
_REMEMBERED = 50_000
_REMEMBERED_WHOLE = 5_000
_NEVER_CHANGED_AFTER_ITS_END = (Step, LLMCall, ToolCall)

Key = tuple[type, str | None, str | int]


class Losses:
    """The spans of one writer that are not in its file. Any thread may add to them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reasons: OrderedDict[Key, str] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._whole: OrderedDict[Key, None] = OrderedDict()
        """The latest that are in the file with their end: a row is made late, and the end may yet be in the line."""
        self._said_at: dict[str, float] = {}
        self._written: dict[str, int] = {}
        self._said = 0
        """How many the last message owned up to."""

    def by_reason(self) -> dict[str, int]:
        with self._lock:
            return {reason: count for reason, count in self._counts.items() if count}

    def count(self, reason: str, spans: Iterable[object]) -> None:
        """These are not in the file."""
        with self._lock:
            for span in spans:
                key = _key(span)
                if key in self._whole:
                    continue
                self._drop(key)
                self._reasons[key] = reason
                self._counts[reason] += 1
            while len(self._reasons) > _REMEMBERED:
                self._reasons.popitem(last=False)

    def uncount(self, spans: Iterable[object], whole: Iterable[object] = ()) -> None:
        """These are in the file, whatever was said of them before; the `whole` ones with their end."""
        with self._lock:
            if self._reasons:
                for span in spans:
                    self._drop(_key(span))
            for span in whole:
                self._whole[_key(span)] = None
            while len(self._whole) > _REMEMBERED_WHOLE:
                self._whole.popitem(last=False)

    def write(self, connection: sqlite3.Connection, writer_id: str) -> None:
        """Bring the file's own account up to date."""
        if not self._counts:
            return
        with self._lock:
            counts = dict(self._counts)
        if counts != self._written:
            rows = [(writer_id, reason, count, time.time_ns() // 1_000) for reason, count in counts.items()]
            connection.executemany("insert or replace into losses values (?, ?, ?, ?)", rows)
            self._written = counts

    @property
    def are_written(self) -> bool:
        """Whether the file's own account is up to date."""
        return not self._counts or self._counts == self._written

    def forget(self) -> None:
        """What was written may have been rolled back, or the file is another one."""
        self._written = {}

    def _drop(self, key: Key) -> None:
        before = self._reasons.pop(key, None)
        if before is not None:
            self._counts[before] -= 1

    def say(self, reason: str) -> None:
        """Warn of losses for this reason, at most once a minute."""
        now = time.monotonic()
        if now - self._said_at.get(reason, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said_at[reason] = now
            counts = self.by_reason()
            self._said = sum(counts.values())
            log.warning(
                "tokentrace: %d records lost so far (%s) for %s; the agent goes on",
                counts.get(reason, 0),
                reason,
                self._path,
            )

    def say_rest(self) -> None:
        """At an end: the whole count, unless the last message already had it."""
        counts = self.by_reason()
        total = sum(counts.values())
        if total > self._said:
            self._said = total
            reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.items())
            log.warning("tokentrace: %d records are not in %s (%s)", total, self._path, reasons)


def whole(spans: Iterable[object]) -> list[object]:
    """Those of which nothing more will be told than what a row made from now on has."""
    return [
        span
        for span in spans
        if isinstance(span, _NEVER_CHANGED_AFTER_ITS_END)
        and span.ended_at is not None
        and span.status not in ("running", "waiting")
    ]


def _key(span: object) -> Key:
    """The row that a span is; not its `id()`, which the next one may have."""
    return type(span), getattr(span, "run_id", None), getattr(span, "id", id(span))
