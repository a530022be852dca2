"""What waits to be written: bounded by count and by weight, and handed over in batches.

The agent's thread appends a reference and goes on. It wakes the writer once per batch and not once per span: a
span is written within 0.2 s, the start and the end of a run at once, so that a run can be seen while it goes on.

When the line is full, because the file cannot be written for long, calls and steps are turned away. Starts and ends
of runs, calls that a budget refused and what was spent of a shared one are not: few as they are, they say what happened.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from tokentrace_core.payload import Payload
from tokentrace_core.spans import LLMCall, Run, RunPart, Session, ToolCall
from tokentrace_core.store.errand import Errand

_MOST_SPANS = 100_000
_MOST_CHARACTERS = 64_000_000
_BATCH = 500
_BATCH_S = 0.2
#: Runs that begin sooner after the last batch wait for the next one: many short ones must not be as many batches.
_PAUSE_S = 0.05


class Flush:
    """A note in the line: everything before it is to be written."""

    def __init__(self) -> None:
        self.done = threading.Event()


class WaitingLine:
    """Spans on their way from any thread to the writer's."""

    def __init__(self) -> None:
        self._items: deque[tuple[object, int]] = deque()
        self._lock = threading.Lock()
        self._weight = 0
        self._taken_at = 0.0
        self._something = threading.Event()
        self._urgent = threading.Event()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, span: object) -> bool:
        """Join the line. False if it is full, and this span is one that can be missed."""
        full = len(self._items) >= _MOST_SPANS or self._weight >= _MOST_CHARACTERS
        if full and not _says_what_happened(span):
            return False
        weight = _weight(span)  # of what comes in only: a prompt tells its weight once
        with self._lock:
            self._weight += weight
            self._items.append((span, weight))
        if type(span) is Run and time.monotonic() - self._taken_at > _PAUSE_S:
            self._urgent.set()
        if not self._something.is_set():
            self._something.set()
        return True

    def ask(self, note: Flush) -> None:
        """Have all that is in the line written now."""
        with self._lock:
            self._items.append((note, 0))
        self._urgent.set()
        self._something.set()

    def take(self, idle_s: float | None = None) -> tuple[list[object], list[Flush]]:
        """The next batch, each span once, and the notes in it. Nothing, if nothing came for `idle_s` seconds."""
        if not self._something.wait(idle_s):
            return [], []
        self._urgent.wait(_BATCH_S)
        # Cleared first: what comes from here on finds them cleared, and sets them again.
        self._something.clear()
        self._urgent.clear()
        spans: dict[int, object] = {}
        notes: list[Flush] = []
        while len(spans) < _BATCH and (item := self._next()) is not None:
            if isinstance(item, Flush):
                notes.append(item)
            else:
                spans[id(item)] = item
        if self._items:
            self._urgent.set()
            self._something.set()
        self._taken_at = time.monotonic()
        return list(spans.values()), notes

    def waiting(self) -> list[object]:
        """The spans in the line, which stay there."""
        with self._lock:
            return [item for item, _ in self._items if not isinstance(item, Flush)]

    def _next(self) -> object | None:
        with self._lock:
            if not self._items:
                return None
            item, weight = self._items.popleft()
            self._weight -= weight
            return item


def _says_what_happened(span: object) -> bool:
    return isinstance(span, (Run, RunPart, Session, Errand)) or (
        isinstance(span, LLMCall) and span.status == "refused"
    )


def _weight(span: object) -> int:
    """Characters that a span keeps in memory until it is written."""
    if isinstance(span, LLMCall):
        prompt = span.prompt.not_yet_weighed() if span.prompt else 0
        return prompt + _held(span.output) + _held(span.tools)
    if isinstance(span, ToolCall):
        return _held(span.arguments) + _held(span.result)
    return 0


def _held(payload: Payload | None) -> int:
    return payload.held if payload is not None else 0
