"""The seam: CrewAI's events where they are emitted, and the refusal that stops a crew.

CrewAI offers two seams. Handlers registered on its bus run on a pool of threads: late, unordered, after `kickoff()`
has returned, and what they raise is printed and forgotten. A `PRE_MODEL_CALL` hook stops, but knows neither the call's
id nor its place, is not asked by every internal call, and sees stale figures unless it first waits for all handlers of
the process, other people's slow ones included. So neither is used. Every event goes through `crewai_event_bus.emit`,
on the thread and in the context of the code that it tells about, in order, and before the request is sent. Listening
there needs no waiting and no reordering, gives exact times, the exception being handled, and a place in the tree;
and since an LLM emits its `LLMCallStartedEvent` where it also asks its hooks, a `HookAborted` raised from there takes the
same way out: through CrewAI's retries, guardrails and fail-open handlers, to the caller of `kickoff()`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from crewai.events import crewai_event_bus
from crewai.hooks.dispatch import HookAborted

from tokentrace_core import BudgetExceeded

Hear = Callable[[Any, Any], None]


class CrewBudgetExceeded(HookAborted, BudgetExceeded):
    """`BudgetExceeded` in the only form that CrewAI neither retries nor swallows."""

    def __init__(self, message: str, *, scope: str, spent: Decimal | int, limit: Decimal | int) -> None:
        BudgetExceeded.__init__(self, message, scope=scope, spent=spent, limit=limit)
        self.reason = message
        self.source = "tokentrace"

    @classmethod
    def of(cls, refusal: BudgetExceeded) -> CrewBudgetExceeded:
        return cls(str(refusal), scope=refusal.scope, spent=refusal.spent, limit=refusal.limit)


class _Seam:
    """Stands in for `crewai_event_bus.emit`: passes the event on, then tells our listeners."""

    def __init__(self, emit: Callable[..., Any]) -> None:
        self.emit = emit
        self.listening: tuple[Hear, ...] = ()

    def __call__(self, source: Any, event: Any) -> Any:
        future = self.emit(source, event)  # gives the event its ids and its parent
        for hear in self.listening:
            hear(source, event)
        return future


_lock = threading.Lock()
_seam: _Seam | None = None


def listen(hear: Hear) -> None:
    """From here on call this with the source and every event."""
    global _seam
    with _lock:
        if _seam is None:
            _seam = _Seam(crewai_event_bus.emit)
            vars(crewai_event_bus)["emit"] = _seam
        if hear not in _seam.listening:
            _seam.listening += (hear,)


def stop_listening(hear: Hear) -> None:
    """Forget it. With the last one the bus is as it was; if others have wrapped it since, ours only passes on."""
    global _seam
    with _lock:
        seam = _seam
        if seam is None:
            return
        seam.listening = tuple(other for other in seam.listening if other != hear)
        if seam.listening:
            return
        _seam = None
        own, before = vars(crewai_event_bus), seam.emit
        if own.get("emit") is seam:
            del own["emit"]
            if crewai_event_bus.emit != before:
                own["emit"] = before  # somebody had wrapped it before us
