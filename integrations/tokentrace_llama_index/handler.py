"""The LlamaIndex handlers: which span and which event is which verb of the recorder.

Spans tell the places: a run, its parts, tools and retrievals. Events tell how model calls end, which may be long
after their span. That a call begins is told by the gate, because nothing raised here would stop it.
"""

from __future__ import annotations

from inspect import BoundArguments
from typing import Any

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
)
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from tokentrace_core import BudgetExceeded
from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping, streams
from tokentrace_llama_index.gate import Gate
from tokentrace_llama_index.span import Span


class Spans(BaseSpanHandler[Span]):
    """Opens and closes everything but model calls. Which spans are open, LlamaIndex keeps: `open_spans`."""

    _gate: Gate = PrivateAttr()

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        gate.open_spans = self.open_spans

    @shielded
    def new_span(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any = None,
        parent_span_id: str | None = None,
        tags: Any = None,
        **_: Any,
    ) -> Span | None:
        if (recorder := self._gate.recorder) is None:
            return None
        span = Span(id_=id_, parent_id=parent_span_id, instance=instance, arguments=bound_args)
        if span.kind in ("call", "embedding"):
            self._gate.stand_before(instance)
        if span.kind in ("tool", "retrieval"):
            tool = mapping.tool_of(span)
            recorder.open_tool(id_, **tool, run=lambda: mapping.run_of(span, tool["arguments"]))
        elif span.kind != "call":
            _enter(recorder, span)
        return span

    def prepare_to_exit_span(
        self, id_: str, bound_args: BoundArguments, instance: Any = None, result: Any = None, **_: Any
    ) -> Span | None:
        return self._end(id_, result, None)

    def prepare_to_drop_span(
        self, id_: str, bound_args: BoundArguments, instance: Any = None, err: Any = None, **_: Any
    ) -> Span | None:
        return self._end(id_, None, err if isinstance(err, BaseException) else RuntimeError(str(err)))

    def _end(self, span_id: str, result: Any, error: BaseException | None) -> Span | None:
        recorder, span = self._gate.recorder, self.open_spans.get(span_id)
        if recorder is not None and span is not None:
            _exit(recorder, span, result, error)
        return span


class Events(BaseEventHandler):
    """Tells how model calls go on and end."""

    _gate: Gate = PrivateAttr()

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    @shielded
    def handle(self, event: Any, **_: Any) -> None:
        recorder = self._gate.recorder
        if recorder is None or not recorder.knows(event.span_id):
            return
        match event:
            case LLMChatInProgressEvent() | LLMCompletionInProgressEvent():
                recorder.first_token(event.span_id, **mapping.reply_so_far(event.response))
            case LLMChatEndEvent() | LLMCompletionEndEvent():
                reply = mapping.reply_of(event.response)
                recorder.close_llm(event.span_id, to_message=mapping.to_message, **reply._asdict())
            case ExceptionEvent():
                recorder.fail(event.span_id, event.exception, to_message=mapping.to_message)
            case _ if event.class_name() == "SpanCancelledEvent":
                recorder.cancel(event.span_id)


def _enter(recorder: Recorder, span: Span) -> None:
    """A part of what is recorded, or a run."""
    place = _place(recorder, span)
    known = recorder.nest(span.id_, place, span.name, in_loop=span.in_loop, step_name=span.step_name)
    if not known and span.is_request:
        facts = mapping.run_of(span, mapping.asked(span.arguments))
        recorder.open_run(span.id_, resume=mapping.is_resume(span.arguments), **facts)


def _place(recorder: Recorder, span: Span) -> Any:
    """What this is a part of: the agent that takes a step of its workflow, unless that is the workflow itself."""
    agent, parent = span.agent, span.parent_id
    loop = recorder.loop_of(parent) if agent and parent else None
    if loop is None or loop.agent == agent:
        return parent
    recorder.nest((parent, agent), parent, agent)
    return parent, agent


@shielded
def _exit(recorder: Recorder, span: Span, result: Any, error: BaseException | None) -> None:
    """The span is over; and with it the run whose streamed answer it has written down."""
    if recorder.knows(span.id_):  # a call that was refused is not
        if (questions := mapping.questions_of(span, result, error)) is not None:
            recorder.wait(span.id_, *questions)
        elif error is not None:
            recorder.fail(span.id_, error)
        elif span.kind in ("tool", "retrieval"):
            _close_tool(recorder, span, result)
        elif span.kind != "call":  # its end is told by an event
            _close(recorder, span, result)
    asked = span.parent_id
    if asked and streams.writes_answer(span) and recorder.knows(asked):
        if error is None:
            recorder.close_run(asked, output=mapping.said_last(span.instance))
        else:
            recorder.fail(asked, error)


def _close_tool(recorder: Recorder, span: Span, result: Any) -> None:
    content, error = mapping.tool_result(span, result)
    if isinstance(error, BudgetExceeded):
        recorder.fail(span.id_, error)
    else:
        recorder.close_tool(span.id_, content, error=error)


def _close(recorder: Recorder, span: Span, result: Any) -> None:
    if not recorder.leave(span.id_) and not streams.follow(recorder, span.id_, result):
        recorder.close_run(span.id_, output=mapping.said_last(result, span.instance))
