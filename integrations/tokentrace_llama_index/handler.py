"""The LlamaIndex handlers: which span and which event is which verb of the recorder.

Spans tell the places: a run, its parts, tools and retrievals. Events tell how model calls end, which may be long
after their span. That a call begins is told by the gate, because nothing raised here would stop it.
"""

from __future__ import annotations

from collections.abc import Callable
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
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from tokentrace_core import BudgetExceeded
from tokentrace_core.integration import Recorder, shielded
from tokentrace_llama_index import mapping, streams
from tokentrace_llama_index.gate import Gate


class Spans(BaseSpanHandler[BaseSpan]):
    """Opens and closes everything but model calls."""

    _gate: Gate = PrivateAttr()
    _answering: dict[str, str] = PrivateAttr(default_factory=dict)
    """Spans that write down a streamed answer, and those that were asked for it."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    @shielded
    def span_enter(
        self,
        id_: str,
        bound_args: BoundArguments,
        instance: Any = None,
        parent_id: str | None = None,
        tags: Any = None,
        **_: Any,
    ) -> None:
        if (recorder := self._gate.recorder) is None:
            return
        match mapping.kind_of(id_, parent_id, instance):
            case "call":
                self._gate.await_call(id_, parent_id, instance)
                self._gate.stand_before(instance)
            case "tool":
                tool = mapping.tool_of(instance, bound_args)
                run = _run_of_its_own(parent_id, id_, instance, tool["arguments"])
                recorder.open_tool(id_, parent=parent_id, run=run, **tool)
            case "retrieval":
                query, name = mapping.query_of(bound_args), mapping.name_of(id_, instance)
                run = _run_of_its_own(parent_id, id_, instance, query)
                recorder.open_tool(id_, name, parent=parent_id, arguments=query, kind="retrieval", run=run)
            case kind:
                if kind == "embedding":
                    self._gate.stand_before(instance)
                if parent_id is not None and streams.writes_answer(id_):
                    self._answering[id_] = parent_id
                _enter(recorder, id_, bound_args, instance, parent_id)

    @shielded
    def span_exit(
        self, id_: str, bound_args: BoundArguments, instance: Any = None, result: Any = None, **_: Any
    ) -> None:
        if (recorder := self._gate.recorder) is None:
            return
        self._gate.forget(id_)
        if recorder.knows(id_):
            _exit(recorder, id_, instance, result)
        asked = self._answering.pop(id_, None)
        if asked and recorder.knows(asked):
            recorder.close_run(asked, output=mapping.said_last(instance))

    @shielded
    def span_drop(
        self, id_: str, bound_args: BoundArguments, instance: Any = None, err: Any = None, **_: Any
    ) -> None:
        if (recorder := self._gate.recorder) is None:
            return
        self._gate.forget(id_)
        error = err if isinstance(err, BaseException) else RuntimeError(str(err))
        for key in (id_, self._answering.pop(id_, None)):
            if recorder.knows(key):  # a call that was refused is not
                recorder.fail(key, error)

    def new_span(self, *_: Any, **__: Any) -> None:
        """The recorder keeps what is open."""

    def prepare_to_exit_span(self, *_: Any, **__: Any) -> None:
        """The recorder keeps what is open."""

    def prepare_to_drop_span(self, *_: Any, **__: Any) -> None:
        """The recorder keeps what is open."""


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


def _enter(
    recorder: Recorder, span_id: str, arguments: BoundArguments, instance: Any, parent: str | None
) -> None:
    """A part of what is recorded, or a run."""
    name, above = mapping.name_of(span_id, instance), _agent(recorder, span_id, arguments, parent)
    in_loop = mapping.is_part_of_agent(parent)
    if recorder.nest(span_id, above, name, in_loop=in_loop) or not mapping.is_request(
        span_id, parent, instance
    ):
        return
    recorder.open_run(span_id, name, input=mapping.run_input(arguments), **mapping.run_facts())


def _exit(recorder: Recorder, span_id: str, instance: Any, result: Any) -> None:
    """The span is over; a model call goes on until an event tells its end, a stream until it has been read."""
    match mapping.kind_of(span_id, None, instance):
        case "call":
            return
        case "retrieval":
            recorder.close_tool(span_id, mapping.found(result))
        case "tool":
            recorder.leave(span_id)  # inside an agent's tool call it is only a part of that
            content, failure, error = mapping.tool_result(result)
            if isinstance(error, BudgetExceeded):
                recorder.fail(span_id, error)
            else:
                recorder.close_tool(span_id, content, error=failure)
        case _:
            if not recorder.leave(span_id) and not streams.follow(recorder, span_id, result):
                recorder.close_run(span_id, output=mapping.said_last(result, instance))


def _agent(recorder: Recorder, span_id: str, arguments: BoundArguments, parent: str | None) -> Any:
    """The agent that takes this step, below its workflow; the workflow itself if that is the agent."""
    agent = mapping.agent_of_step(span_id, arguments)
    loop = recorder.loop_of(parent) if agent and parent else None
    if loop is None or loop.agent == agent:
        return parent
    recorder.nest((parent, agent), parent, agent)
    return parent, agent


def _run_of_its_own(
    parent: str | None, span_id: str, instance: Any, asked: Any
) -> Callable[[], dict[str, Any]] | None:
    """What to say of the run that a call is when it was not made inside any."""
    if parent is not None:
        return None
    return lambda: mapping.run_facts() | {"name": mapping.name_of(span_id, instance), "input": asked}
