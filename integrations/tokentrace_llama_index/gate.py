"""The gate in front of every model: the one place from where LlamaIndex lets an exception through.

Whatever its event and span handlers raise is swallowed, so a call is opened from the older callback manager that
each model carries, just before its request. The span handler puts the gate there. What it raises reaches the
user's program: it lets nothing through but `BudgetExceeded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.base_handler import BaseCallbackHandler

from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping
from tokentrace_llama_index.place import current_span_id
from tokentrace_llama_index.span import Span


class Silent(BaseCallbackHandler):
    """A handler of the older kind that listens to nothing."""

    def __init__(self) -> None:
        super().__init__([], [])

    def on_event_start(
        self, event_type: Any, payload: Any = None, event_id: str = "", parent_id: str = "", **_: Any
    ) -> str:
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None: ...

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


class Gate(Silent):
    """Opens model calls, and embeddings, in the recorder; without a recorder it lets everything pass."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder: Recorder | None = None
        self.open_spans: Mapping[str, Span] = {}

    def stand_before(self, client: Any) -> None:
        """Be asked by this model, or embedding model, before each request."""
        manager = client.callback_manager
        if not isinstance(manager, CallbackManager):
            client.callback_manager = CallbackManager([self])
        elif not any(handler is self for handler in manager.handlers):
            manager.add_handler(self)

    def on_event_start(
        self, event_type: Any, payload: Any = None, event_id: str = "", parent_id: str = "", **_: Any
    ) -> str:
        self._let_pass(event_type, payload or {}, event_id)
        return event_id

    @shielded
    def _let_pass(self, event_type: Any, payload: Mapping[Any, Any], event_id: str) -> None:
        recorder, span = self.recorder, self.open_spans.get(current_span_id() or "")
        if recorder is None or span is None:
            return
        if event_type == CBEventType.LLM and span.kind == "call":
            recorder.open_llm(
                span.id_,
                parent=span.parent_id,
                client=id(span.instance),
                run=lambda: mapping.run_of(span, mapping.asked(span.arguments)),
                to_message=mapping.to_message,
                **mapping.request_of(span.instance, payload),
            )
        elif event_type == CBEventType.EMBEDDING:
            model, provider = mapping.model_of(None, payload)
            recorder.open_llm(event_id, parent=span.id_, kind="embedding", model=model, provider=provider)

    @shielded
    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        if self.recorder is None or event_type != CBEventType.EMBEDDING:
            return
        payload = payload or {}
        if EventPayload.CHUNKS in payload:
            self.recorder.close_llm(event_id, usage=mapping.embedded(payload[EventPayload.CHUNKS]))
        elif EventPayload.EXCEPTION in payload:
            self.recorder.fail(event_id, payload[EventPayload.EXCEPTION])
        else:
            self.recorder.cancel(event_id)
