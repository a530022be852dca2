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

_lock = threading.Lock()
_listening: tuple[Hear, ...] = ()
_emit: Callable[..., Any] | None = None
"""The bus's own `emit`, while ours stands in front of it."""


class CrewBudgetExceeded(HookAborted, BudgetExceeded):
    """`BudgetExceeded` in the only form that CrewAI neither retries nor swallows."""

    def __init__(self, message: str, *, scope: str, spent: Decimal | int, limit: Decimal | int) -> None:
        BudgetExceeded.__init__(self, message, scope=scope, spent=spent, limit=limit)
        self.reason = message
        self.source = "tokentrace"

    @classmethod
    def of(cls, refusal: BudgetExceeded) -> CrewBudgetExceeded:
        return cls(str(refusal), scope=refusal.scope, spent=refusal.spent, limit=refusal.limit)


def listen(hear: Hear) -> None:
    """From here on call this with the source and every event, once both are complete."""
    global _emit, _listening
    with _lock:
        if hear not in _listening:
            _listening = (*_listening, hear)
        if _emit is None:
            _emit = crewai_event_bus.emit
            vars(crewai_event_bus)["emit"] = _emit_and_tell


def stop_listening(hear: Hear) -> None:
    """Forget it; with the last one the bus is as it was, unless others have wrapped it meanwhile."""
    global _emit, _listening
    with _lock:
        _listening = tuple(other for other in _listening if other != hear)
        if not _listening and vars(crewai_event_bus).get("emit") is _emit_and_tell:
            if getattr(_emit, "__func__", None) is type(crewai_event_bus).emit:
                del vars(crewai_event_bus)["emit"]
            else:
                vars(crewai_event_bus)["emit"] = _emit
            _emit = None


def _emit_and_tell(source: Any, event: Any) -> Any:
    """What stands in for `crewai_event_bus.emit`: the event has its ids and its parent once that is through."""
    future = (
        _emit(source, event)
        if _emit is not None
        else type(crewai_event_bus).emit(crewai_event_bus, source, event)
    )
    for hear in _listening:
        hear(source, event)
    return future
