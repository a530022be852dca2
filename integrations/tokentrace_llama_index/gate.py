"""The gate in front of every model: the one place from where LlamaIndex lets an exception through.

Whatever its event and span handlers raise is swallowed, so a call is opened from the older callback manager that
each model carries, just before its request. The span handler puts the gate there. What it raises reaches the
user's program: it lets nothing through but `BudgetExceeded`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler

from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping
from tokentrace_llama_index.place import current_span_id


class _Awaited(NamedTuple):
    """A model's span that has begun, and whose request has not been announced yet."""

    parent: str | None
    client: Any


class Gate(BaseCallbackHandler):
    """Opens model calls, and embeddings, in the recorder; without a recorder it lets everything pass."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.recorder: Recorder | None = None
        self._awaited: dict[str, _Awaited] = {}

    def stand_before(self, client: Any) -> None:
        """Be asked by this model, or embedding model, before each request."""
        manager = client.callback_manager
        if not isinstance(manager, CallbackManager):
            client.callback_manager = CallbackManager([self])
        elif not any(handler is self for handler in manager.handlers):
            manager.add_handler(self)

    def await_call(self, span_id: str, parent: str | None, client: Any) -> None:
        """A model's span has begun; its request will be announced."""
        self._awaited[span_id] = _Awaited(parent, client)

    def forget(self, span_id: str) -> None:
        """The span is over; if its request has not been announced, it will not be."""
        self._awaited.pop(span_id, None)

    @shielded
    def _let_pass(self, event_type: Any, payload: Any, event_id: str) -> None:
        payload, span_id = payload or {}, current_span_id()
        if self.recorder is None:
            return
        if event_type == CBEventType.LLM and span_id in self._awaited:
            awaited = self._awaited[span_id]
            self.recorder.open_llm(
                span_id,
                parent=awaited.parent,
                client=id(awaited.client),
                run=lambda: mapping.run_of_a_call(awaited.client, payload),
                to_message=mapping.to_message,
                step_name=mapping.step_name(awaited.parent),
                **mapping.request_of(awaited.client, payload),
            )
            del self._awaited[span_id]
        elif event_type == CBEventType.EMBEDDING:
            model, provider = mapping.model_of(None, payload)
            self.recorder.open_llm(event_id, parent=span_id, kind="embedding", model=model, provider=provider)

    @shielded
    def _note_end(self, event_type: Any, payload: Any, event_id: str) -> None:
        if self.recorder is None or event_type != CBEventType.EMBEDDING:
            return
        payload = payload or {}
        if EventPayload.CHUNKS in payload:
            self.recorder.close_llm(event_id, usage=mapping.embedded(payload[EventPayload.CHUNKS]))
        elif EventPayload.EXCEPTION in payload:
            self.recorder.fail(event_id, payload[EventPayload.EXCEPTION])
        else:
            self.recorder.cancel(event_id)

    def on_event_start(
        self, event_type: Any, payload: Any = None, event_id: str = "", parent_id: str = "", **_: Any
    ) -> str:
        self._let_pass(event_type, payload, event_id)
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        self._note_end(event_type, payload, event_id)

    def start_trace(self, trace_id: str | None = None) -> None:
        """Spans say it."""

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        """Spans say it."""
