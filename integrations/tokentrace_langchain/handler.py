"""The LangChain and LangGraph handler: which event is which verb of the recorder.

Synchronous, because an asynchronous handler's exception is swallowed by LangChain and a budget would stop
nothing; with `raise_error`, without which it is swallowed too; inline, so that events stay in order and cost
no hop to another thread. Hence every method is shielded: only `BudgetExceeded` gets through.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from langchain_core.callbacks import BaseCallbackHandler

from tokentrace_core import Tracer, default_tracer
from tokentrace_core.integration import shielded
from tokentrace_langchain import mapping, place

#: What LangChain passes to every callback: run_id, parent_run_id, tags, metadata, name …
Event = dict[str, Any]


class TokentraceHandler(BaseCallbackHandler):
    """Records every run it is attached to: `agent.invoke(x, config={"callbacks": [TokentraceHandler(tracer)]})`.

    Without a tracer it uses the default one (`TOKENTRACE_DB`, or ./traces.db). One handler serves any number
    of concurrent runs. `metadata={"user_id": ..., "session_id": ...}` in the config says whose run it is; a
    LangGraph `thread_id` is the session too.
    """

    raise_error = True
    run_inline = True

    def __init__(self, tracer: Tracer | None = None) -> None:
        super().__init__()
        self._use(tracer or default_tracer())

    def _use(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._recorder = tracer.recorder
        for locator in (place.current_run_id, place.current_model_run_id):
            self._recorder.add_locator(locator)

    # ── chains: only their links matter, and the outermost is the run ────────────────────────────────

    @shielded
    def on_chain_start(self, serialized: Any, inputs: Any, **event: Any) -> None:
        key, parent, tags = event["run_id"], event.get("parent_run_id"), event.get("tags")
        name, in_loop = event.get("name") or "chain", mapping.is_part_of_agent(tags)
        if parent and self._recorder.nest(key, parent, name, in_loop=in_loop):
            return
        facts = mapping.run_facts(event.get("metadata"), tags)
        asked, resume = mapping.run_input(inputs), mapping.is_resume(inputs)
        self._recorder.open_run(key, name, input=asked, resume=resume, **facts)

    @shielded
    def on_chain_end(self, outputs: Any, **event: Any) -> None:
        if not self._recorder.leave(event["run_id"]):
            asked = mapping.run_input(event.get("inputs"))
            self._recorder.close_run(event["run_id"], output=mapping.said_last(outputs), asked=asked)

    @shielded
    def on_chain_error(self, error: BaseException, **event: Any) -> None:
        self._fail(error, event)

    # ── models ───────────────────────────────────────────────────────────────────────────────────────

    @shielded
    def on_chat_model_start(self, serialized: Any, messages: list[list[Any]], **event: Any) -> None:
        self._open_llm("chat", messages[0], event)

    @shielded
    def on_llm_start(self, serialized: Any, prompts: list[str], **event: Any) -> None:
        self._open_llm("completion", prompts, event)

    @shielded
    def on_llm_new_token(self, token: Any, **event: Any) -> None:
        place.stop_asking()
        self._recorder.first_token(event["run_id"], usage=mapping.usage_of_piece(event.get("chunk")))

    @shielded
    def on_llm_end(self, response: Any, **event: Any) -> None:
        reply = mapping.reply_of(response)
        self._recorder.close_llm(event["run_id"], to_message=mapping.to_message, **reply._asdict())

    @shielded
    def on_llm_error(self, error: BaseException, **event: Any) -> None:
        arrived = mapping.broken_reply_of(event.get("response"))
        self._recorder.fail(event["run_id"], error, arrived=arrived, to_message=mapping.to_message)

    # ── tools and retrievers ─────────────────────────────────────────────────────────────────────────

    @shielded
    def on_tool_start(self, serialized: Any, input_str: str, **event: Any) -> None:
        name = event.get("name") or (serialized or {}).get("name") or "tool"
        inputs = event.get("inputs")
        self._open_tool(name, input_str if inputs is None else inputs, event)

    @shielded
    def on_tool_end(self, output: Any, **event: Any) -> None:
        result, error = mapping.tool_result(output)
        self._recorder.close_tool(event["run_id"], result, error=error)

    @shielded
    def on_tool_error(self, error: BaseException, **event: Any) -> None:
        self._fail(error, event)

    @shielded
    def on_retriever_start(self, serialized: Any, query: str, **event: Any) -> None:
        self._open_tool(event.get("name") or "retriever", {"query": query}, event, kind="retrieval")

    @shielded
    def on_retriever_end(self, documents: Any, **event: Any) -> None:
        self._recorder.close_tool(event["run_id"], mapping.found(documents))

    @shielded
    def on_retriever_error(self, error: BaseException, **event: Any) -> None:
        self._fail(error, event)

    # ── LangGraph asks for these two by name ─────────────────────────────────────────────────────────

    def on_interrupt(self, event: Any) -> None:
        """The interrupted node's error says the same, with the question."""

    def on_resume(self, event: Any) -> None:
        """The run's own start says the same."""

    # ── shared ───────────────────────────────────────────────────────────────────────────────────────

    def _open_llm(self, kind: Literal["chat", "completion"], messages: list[Any], event: Event) -> None:
        self._recorder.open_llm(
            event["run_id"],
            parent=event.get("parent_run_id"),
            kind=kind,
            messages=messages,
            to_message=mapping.to_message,
            run=_run_of_its_own(event, lambda: mapping.asked_in(messages)),
            **mapping.request_of(messages, event),
        )
        if event.get("batch_size", 1) == 1:
            place.begin_asking(event["run_id"])
        else:  # prompts of one batch all begin before the first is sent: none is inside another
            place.stop_asking()

    def _open_tool(
        self, name: str, arguments: Any, event: Event, kind: Literal["tool", "retrieval"] = "tool"
    ) -> None:
        self._recorder.open_tool(
            event["run_id"],
            name,
            parent=event.get("parent_run_id"),
            arguments=arguments,
            tool_call_id=event.get("tool_call_id"),
            kind=kind,
            run=_run_of_its_own(event, lambda: arguments),
        )

    def _fail(self, error: BaseException, event: Event) -> None:
        if not mapping.is_control_flow(error):
            self._recorder.fail(event["run_id"], error)
        elif (questions := mapping.questions_of(error)) is not None:
            self._recorder.wait(event["run_id"], *questions)
        else:
            self._recorder.leave(event["run_id"])


def _run_of_its_own(event: Event, asked: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    """What to say of the run that a call is when it was not made inside any; read only then."""

    def facts() -> dict[str, Any]:
        labels = mapping.run_facts(event.get("metadata"), event.get("tags"))
        return labels | {"name": event.get("name"), "input": asked()}

    return facts
