"""What all verbs of the recorder stand on: its state, under one lock; ends that overtake starts; announcements."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from tokentrace_core import signals
from tokentrace_core.budget import Budget
from tokentrace_core.endings import Endings
from tokentrace_core.ids import Timeline
from tokentrace_core.joined_runs import JoinedRuns
from tokentrace_core.open_spans import Node
from tokentrace_core.pricing import PriceBook
from tokentrace_core.prompts import Message
from tokentrace_core.redact import Redactor
from tokentrace_core.sealing import Sealer
from tokentrace_core.signals import Event

#: How many ends that came before their starts are kept, and for how many seconds.
_EARLY_ENDS = 1_000
_EARLY_S = 60.0


def as_is(message: Any) -> Message:
    """A message that is in the common form already, or the text of one."""
    return message if isinstance(message, Mapping) else {"role": "user", "content": message}


class Recording:
    """The state of a recorder; see `Recorder` for its arguments."""

    def __init__(
        self,
        *,
        redactor: Redactor | None = None,
        prices: PriceBook | None = None,
        budget: Budget | None = None,
        project: str | None = None,
        environment: str | None = None,
        result_chars: int = 2_000,
        timeline: Timeline | None = None,
        idle_s: float = 6 * 3600,
        open_runs: int = 10_000,
    ) -> None:
        self.prices = prices or PriceBook.default()
        self._sealer = Sealer(redactor or Redactor(), result_chars)
        self._runs = JoinedRuns(
            self,
            self._sealer,
            self.prices,
            budget,
            {"project": project, "environment": environment},
            timeline or Timeline(),
            give_up=lambda run: self._ends.abandon(run),
            idle_s=idle_s,
            open_runs=open_runs,
        )
        self._ends = Endings(self._runs, self._sealer, self.prices)
        self._lock = threading.RLock()
        _recorders.add(self)
        self._early_ends: OrderedDict[Hashable, tuple[float, Callable[[Node], list[Event]]]] = OrderedDict()

    def _find(self, key: Hashable | None) -> Node | None:
        return self._runs.here() if key is None else self._runs.nodes.get(key)

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, key: Hashable, close: Callable[[Node], list[Event]]) -> None:
        """Apply an end to an open part; keep it if the part has not begun yet."""
        with self._lock:
            if key in self._runs.nodes:
                events = self._apply(key, close)
            else:
                events = []
                if not self._runs.is_over(key):
                    self._keep_early_end(key, close)
        self._tell(events)

    def _keep_early_end(self, key: Hashable, close: Callable[[Node], list[Event]]) -> None:
        now = time.monotonic()
        self._early_ends[key] = (now, close)
        while (
            len(self._early_ends) > _EARLY_ENDS or next(iter(self._early_ends.values()))[0] < now - _EARLY_S
        ):
            self._early_ends.popitem(last=False)

    def _early_end(self, key: Hashable) -> list[Event]:
        """The end that had overtaken this start, if one had."""
        _, close = self._early_ends.pop(key, (0, None))
        return self._apply(key, close) if close else []

    def _apply(self, key: Hashable, close: Callable[[Node], list[Event]]) -> list[Event]:
        node = self._runs.nodes[key]
        if node.closed:
            return []
        self._runs.touch(node.run)
        return close(node)

    # ── announcements ────────────────────────────────────────────────────────────────────────────────

    def _tell(self, events: list[Event]) -> None:
        """Announce outside the lock: a slow receiver must not hold up other threads."""
        for signal, fact in events:
            signals.emit(signal, self, **fact)


_recorders: weakref.WeakSet[Recording] = weakref.WeakSet()


def _begin_as_child() -> None:
    """Another thread of the parent may have held the lock, and nobody here would ever let go of it."""
    for recorder in list(_recorders):
        recorder._lock = threading.RLock()
        recorder._early_ends.clear()
        recorder._runs.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_as_child)
