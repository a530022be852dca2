"""What happened, announced with blinker: facts in the past tense.

Connect any callable: `@llm_call_ended.connect` / `def slow(recorder, call): ...`. The sender is the tracer's
recorder, so `signal.connect(receiver, sender=tracer.recorder)` hears one tracer only. Keep a reference to the
receiver (blinker holds it weakly) and make it quick: it runs on the agent's thread. It can neither stop the
agent nor break it: an exception in it is logged and the next receiver is called. Texts in what it is given
are redacted.
"""

from __future__ import annotations

import logging

from blinker import NamedSignal, Namespace

__all__ = [
    "budget_exceeded",
    "budget_warning",
    "llm_call_ended",
    "llm_call_refused",
    "llm_call_started",
    "run_ended",
    "run_part_ended",
    "run_part_started",
    "run_started",
    "run_updated",
    "run_waiting",
    "session_started",
    "step_ended",
    "step_started",
    "step_updated",
    "tool_call_ended",
    "tool_call_started",
]

log = logging.getLogger("tokentrace")

#: A signal that is due, and what it will carry.
Event = tuple[NamedSignal, dict[str, object]]
_signals = Namespace()

session_started = _signals.signal("session-started", doc="receiver(recorder, session): first seen here.")
run_started = _signals.signal("run-started", doc="receiver(recorder, run): a request began, or resumed.")
run_updated = _signals.signal(
    "run-updated", doc="receiver(recorder, run): a call ended; totals are up to date."
)
run_waiting = _signals.signal("run-waiting", doc="receiver(recorder, run): it waits for a human.")
run_ended = _signals.signal(
    "run-ended", doc="receiver(recorder, run): answered, failed or stopped; totals are in."
)
run_part_started = _signals.signal(
    "run-part-started", doc="receiver(recorder, part): a run that another process began goes on here, too."
)
run_part_ended = _signals.signal(
    "run-part-ended", doc="receiver(recorder, part): this process's part of that run is over."
)
step_started = _signals.signal("step-started", doc="receiver(recorder, step): a loop iteration began.")
step_ended = _signals.signal(
    "step-ended", doc="receiver(recorder, step): the iteration and its calls are done."
)
step_updated = _signals.signal(
    "step-updated", doc="receiver(recorder, step): a tool was called after its block had been left."
)
llm_call_started = _signals.signal("llm-call-started", doc="receiver(recorder, call): about to be sent.")
llm_call_ended = _signals.signal("llm-call-ended", doc="receiver(recorder, call): usage and cost are in.")
llm_call_refused = _signals.signal(
    "llm-call-refused", doc="receiver(recorder, call): a budget said no; nothing was sent."
)
tool_call_started = _signals.signal(
    "tool-call-started", doc="receiver(recorder, call): a tool or retrieval began."
)
tool_call_ended = _signals.signal("tool-call-ended", doc="receiver(recorder, call): it returned or failed.")
budget_warning = _signals.signal(
    "budget-warning",
    doc="receiver(recorder, run, scope, share): nearing a limit, once per scope; no run for one of all.",
)
budget_exceeded = _signals.signal(
    "budget-exceeded", doc="receiver(recorder, run, error): a call was refused."
)

#: Every signal that carries a span, with the keyword under which it does.
CARRIES: dict[NamedSignal, str] = {
    session_started: "session",
    run_started: "run",
    run_updated: "run",
    run_waiting: "run",
    run_ended: "run",
    run_part_started: "part",
    run_part_ended: "part",
    step_started: "step",
    step_ended: "step",
    step_updated: "step",
    llm_call_started: "call",
    llm_call_ended: "call",
    llm_call_refused: "call",
    tool_call_started: "call",
    tool_call_ended: "call",
}


def emit(signal: NamedSignal, recorder: object, /, **fact: object) -> None:
    """Tell every receiver. One that raises is logged; the others and the agent go on."""
    if not signal.receivers:
        return
    for receiver in signal.receivers_for(recorder):
        try:
            receiver(recorder, **fact)
        except Exception:
            log.exception("tokentrace: a receiver of %s failed; the agent goes on", signal.name)
