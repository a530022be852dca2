"""The CrewAI listener: which event is which verb of the recorder.

Events are heard where they are emitted (`gate`), so they come in order and the calling code waits: every method is
shielded, and only `BudgetExceeded` gets through. CrewAI's own tables say which events begin a part and which end one;
here stands what is more than a part. Totals that CrewAI adds up itself are never read: they leave calls out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable
from contextvars import Context
from typing import Any

from crewai.events import BaseEventListener
from crewai.events.event_context import SCOPE_STARTING_EVENTS, VALID_EVENT_PAIRS
from crewai.events.types.llm_events import LLMEventBase

from tokentrace_core import BudgetExceeded, Tracer, default_tracer
from tokentrace_core.integration import shielded
from tokentrace_crewai import gate, mapping, place
from tokentrace_crewai.order import in_order

_CALLS = ("llm_call_started", "tool_usage_started")
#: What is a run when it is inside nothing; any other part is only a part.
_REQUESTS = (
    "crew_kickoff_started",
    "flow_started",
    "task_started",
    "agent_execution_started",
    "lite_agent_execution_started",
)


class TokentraceListener(BaseEventListener):
    """Records every crew, flow, agent and LLM of the process, from when it is made until `detach()`.

    Without a tracer it uses the default one (`TOKENTRACE_DB`, or ./traces.db). `kickoff(inputs={"user_id": ...,
    "session_id": ...})`, or `tracer.session(...)` round it, says whose run it is; a flow's id is its session too.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        self.tracer = tracer or default_tracer()
        self._recorder = self.tracer.recorder
        self._place = place.Place()
        self._recorder.add_locator(self._place.current)
        super().__init__()

    def setup_listeners(self, crewai_event_bus: Any) -> None:
        gate.listen(self.hear)

    def detach(self) -> None:
        """Hear no more."""
        gate.stop_listening(self.hear)
        self._recorder.forget_locator(self._place.current)

    def hear(self, source: Any, event: Any) -> None:
        """Record one event, now. Raises `CrewBudgetExceeded` if it is a model call that must not be made."""
        try:
            self._record(source, event)
        except BudgetExceeded as refusal:
            raise gate.CrewBudgetExceeded.of(refusal) from None

    def replay(self, events: Iterable[tuple[Any, Any]]) -> None:
        """Record events that were kept elsewhere, each with its source: in any order, of any number of runs."""

        def record() -> None:
            for source, event in in_order(events):
                with contextlib.suppress(BudgetExceeded):
                    self._record(source, event)

        # Where this code is has nothing to do with where those events were emitted.
        Context().run(record)

    @shielded
    def _record(self, source: Any, event: Any) -> None:
        kind, is_llm = event.type, isinstance(event, LLMEventBase)
        if kind in SCOPE_STARTING_EVENTS:
            key = event.call_id if is_llm else event.event_id
            self._begin(key, source, event)
            self._place.enter(kind, source, key, event.parent_event_id)
        elif began := VALID_EVENT_PAIRS.get(kind):
            named = event.call_id if is_llm else event.started_event_id
            key = self._place.leave(began, source, named)
            if key is not None:
                self._end(began, key, event)
        elif kind == "llm_stream_chunk":
            self._recorder.first_token(event.call_id)

    # ── beginnings ───────────────────────────────────────────────────────────────────────────────────

    def _begin(self, key: Hashable, source: Any, event: Any) -> None:
        match event.type:
            case "llm_call_started":
                self._end_untold(source, event.parent_event_id)
                self._recorder.open_llm(
                    key,
                    parent=event.parent_event_id,
                    run=lambda: mapping.run_of_a_call(event),
                    to_message=mapping.to_message,
                    **mapping.request_of(source, event),
                )
            case "tool_usage_started":
                self._recorder.open_tool(
                    key,
                    event.tool_name,
                    parent=event.parent_event_id,
                    arguments=mapping.arguments_of(event),
                    run=lambda: {"framework": "crewai", "name": event.tool_name},
                )
            case kind:
                if kind in _REQUESTS:
                    self._end_untold(None, event.parent_event_id)
                if not self._nest(key, source, event) and kind in _REQUESTS:
                    self._recorder.open_run(key, **mapping.run_facts(source, event))
                    place.when_called_off(lambda: self._call_off(key))

    def _nest(self, key: Hashable, source: Any, event: Any) -> bool:
        """Begin what is not recorded itself: only its links matter. False if it is inside nothing."""
        return self._recorder.nest(
            key,
            event.parent_event_id,
            mapping.name_of(event),
            in_loop=mapping.is_agent_loop(event),
            step_name=mapping.step_name_of(source, event),
        )

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, began: str, key: Hashable, event: Any) -> None:
        error = mapping.error_of(event)
        if event.type == "flow_paused":
            self._recorder.wait(key, event.message)
        elif began not in _CALLS and self._recorder.leave(key):
            return
        elif error is not None:
            arrived = mapping.broken_reply_of(error)
            self._recorder.fail(key, error, arrived=arrived, to_message=mapping.answer_to_message)
        elif began == "llm_call_started":
            reply = mapping.reply_of(event)
            self._recorder.close_llm(key, to_message=mapping.answer_to_message, **reply._asdict())
        elif began == "tool_usage_started":
            if event.from_cache:
                self._recorder.note(key, {"from_cache": True})
            self._recorder.close_tool(key, event.output, error=mapping.failure_of(event))
        else:
            self._recorder.close_run(key, output=mapping.output_of(event))

    def _end_untold(self, source: Any, parent: Hashable | None) -> None:
        """End the call before, this client's or anybody's: CrewAI tells no end of what litellm answers with tool calls.

        It then takes that call for the parent of whatever comes next, which the recorder knows by another key.
        """
        before = self._place.innermost(_CALLS[0], source)
        if before is not None and parent is not None and not self._recorder.knows(parent):
            self._place.leave(_CALLS[0], source, before)
            self._recorder.close_llm(before)

    def _call_off(self, key: Hashable) -> None:
        """Whoever waited for it does no longer; CrewAI tells nobody."""
        if not self._recorder.leave(key):
            self._recorder.cancel(key)


# ── the whole process ────────────────────────────────────────────────────────────────────────────────────

_instrumented: TokentraceListener | None = None


def instrument(tracer: Tracer | None = None) -> None:
    """Record everything that CrewAI does in this process; without a tracer, with the default one.

    Calling it again changes the tracer. Nothing in CrewAI's settings or environment is changed.
    """
    global _instrumented
    uninstrument()
    _instrumented = TokentraceListener(tracer)


def uninstrument() -> None:
    """Stop recording process-wide. Listeners that were made explicitly go on."""
    global _instrumented
    if _instrumented is not None:
        _instrumented.detach()
        _instrumented = None
