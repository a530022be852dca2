"""Switching the recording on and off for the whole process, which is the only way LlamaIndex knows.

Its root dispatcher tells every handler everything and has no way to forget one, so switching off takes them out
of its lists. The gate stays in the models it has been put into, and lets everything pass.
"""

from __future__ import annotations

from llama_index_instrumentation import get_dispatcher

from tokentrace_core import Tracer, default_tracer
from tokentrace_llama_index import place
from tokentrace_llama_index.gate import Gate, Silent
from tokentrace_llama_index.handler import Events, Spans

_gate = Gate()
_spans, _events = Spans(_gate), Events(_gate)


def instrument(tracer: Tracer | None = None) -> None:
    """Record every LlamaIndex run from here on; without a tracer, with the default one.

    Calling it again changes the tracer.
    """
    recorder = (tracer or default_tracer()).recorder
    recorder.add_locator(place.current_span_id)
    _gate.recorder = recorder
    root = get_dispatcher()
    if not any(handler is _spans for handler in root.span_handlers):
        root.add_span_handler(_spans)
        root.add_event_handler(_events)


def uninstrument() -> None:
    """Stop recording."""
    _gate.recorder = None
    root = get_dispatcher()
    root.span_handlers = [handler for handler in root.span_handlers if handler is not _spans]
    root.event_handlers = [handler for handler in root.event_handlers if handler is not _events]
    _spans.open_spans.clear()


class TokentraceHandler(Silent):
    """The older idiom: `Settings.callback_manager = CallbackManager([TokentraceHandler(tracer)])`.

    Callback managers tell nothing of agents and tools, and nothing at all to models made before them. So this
    does what `instrument(tracer)` does, and listens to nothing itself.
    """

    def __init__(self, tracer: Tracer | None = None) -> None:
        super().__init__()
        instrument(tracer)
