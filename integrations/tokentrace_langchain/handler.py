"""The LangChain and LangGraph handler: which event is which verb of the recorder.

Synchronous, because an asynchronous handler's exception is swallowed by LangChain and a budget would stop
nothing; with `raise_error`, without which it is swallowed too; inline, so that events stay in order and cost
no hop to another thread. Hence every method is shielded: only `BudgetExceeded` gets through.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any, Literal
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables.config import var_child_runnable_config

from tokentrace_core import Tracer, default_tracer
from tokentrace_core.shield import shielded
from tokentrace_langchain import mapping

Kind = Literal["chat", "completion"]

#: The model call that this code is making, and the task that began it. LangChain notes in which chain or tool code
#: runs, but not that a model asks another one. Forgotten at the first token, as then the code that listens runs too.
_asking: ContextVar[tuple[UUID, object] | None] = ContextVar("tokentrace_langchain_asking", default=None)


def current_run_id() -> UUID | None:
    """The LangChain run that this code is called from, as LangChain itself notes it."""
    config = var_child_runnable_config.get()
    return getattr(config.get("callbacks"), "parent_run_id", None) if config else None


def current_model_run_id() -> UUID | None:
    """The LangChain model run that this code is called from.

    LangChain runs the inside of an asynchronous call in a task of its own. The task that began it is outside,
    and runs on when the call is cancelled, of which LangChain tells nobody.
    """
    run_id, task = _asking.get() or (None, None)
    return run_id if task is None or task is not _current_task() else None


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


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
        for locator in (current_run_id, current_model_run_id):
            self._recorder.add_locator(locator)

    # ── chains: only their links matter, and the outermost is the run ────────────────────────────────

    @shielded
    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **event: Any
    ) -> None:
        name, tags = event.get("name") or "chain", event.get("tags")
        in_loop = mapping.is_part_of_agent(tags)
        if parent_run_id and self._recorder.nest(run_id, parent_run_id, name, in_loop=in_loop):
            return
        self._recorder.open_run(
            run_id,
            name,
            input=mapping.run_input(inputs),
            resume=mapping.is_resume(inputs),
            **mapping.run_facts(event.get("metadata"), tags),
        )

    @shielded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **event: Any) -> None:
        if not self._recorder.leave(run_id):
            asked = mapping.run_input(event.get("inputs"))
            self._recorder.close_run(run_id, output=mapping.run_output(outputs), asked=asked)

    @shielded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        self._fail(run_id, error)

    # ── models ───────────────────────────────────────────────────────────────────────────────────────

    @shielded
    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[Any]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **event: Any,
    ) -> None:
        self._open_llm("chat", messages[0], run_id, parent_run_id, event)

    @shielded
    def on_llm_start(
        self,
        serialized: Any,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **event: Any,
    ) -> None:
        self._open_llm("completion", prompts, run_id, parent_run_id, event)

    @shielded
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **event: Any) -> None:
        _asking.set(None)
        self._recorder.first_token(run_id, usage=mapping.usage_of_piece(event.get("chunk")))

    @shielded
    def on_llm_end(self, response: Any, *, run_id: UUID, **event: Any) -> None:
        reply = mapping.reply_of(response)
        self._recorder.close_llm(run_id, to_message=mapping.to_message, **reply._asdict())

    @shielded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        partial = mapping.broken_reply_of(event.get("response"))
        self._recorder.fail(
            run_id,
            error,
            usage=partial.usage,
            output=partial.output,
            to_message=mapping.to_message,
            model=partial.model,
        )

    # ── tools and retrievers ─────────────────────────────────────────────────────────────────────────

    @shielded
    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **event: Any,
    ) -> None:
        inputs = event.get("inputs")
        self._recorder.open_tool(
            run_id,
            event.get("name") or (serialized or {}).get("name") or "tool",
            parent=parent_run_id,
            arguments=input_str if inputs is None else inputs,
            tool_call_id=event.get("tool_call_id"),
            run=self._run_of_its_own(parent_run_id, event, inputs or input_str),
        )

    @shielded
    def on_tool_end(self, output: Any, *, run_id: UUID, **event: Any) -> None:
        result, error = mapping.tool_result(output)
        self._recorder.close_tool(run_id, result, error=error)

    @shielded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        self._fail(run_id, error)

    @shielded
    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **event: Any,
    ) -> None:
        self._recorder.open_tool(
            run_id,
            event.get("name") or "retriever",
            parent=parent_run_id,
            arguments={"query": query},
            kind="retrieval",
            run=self._run_of_its_own(parent_run_id, event, query),
        )

    @shielded
    def on_retriever_end(self, documents: Any, *, run_id: UUID, **event: Any) -> None:
        self._recorder.close_tool(run_id, mapping.documents(documents))

    @shielded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **event: Any) -> None:
        self._fail(run_id, error)

    # ── LangGraph asks for these two by name ─────────────────────────────────────────────────────────

    def on_interrupt(self, event: Any) -> None:
        """The interrupted node's error says the same, with the question."""

    def on_resume(self, event: Any) -> None:
        """The run's own start says the same."""

    # ── shared ───────────────────────────────────────────────────────────────────────────────────────

    def _open_llm(
        self, kind: Kind, messages: list[Any], run_id: UUID, parent: UUID | None, event: dict[str, Any]
    ) -> None:
        self._recorder.open_llm(
            run_id,
            parent=parent,
            kind=kind,
            messages=messages,
            to_message=mapping.to_message,
            run=self._run_of_its_own(parent, event, mapping.last_content(messages)),
            **mapping.request_of(event.get("metadata"), event.get("invocation_params")),
        )
        # Prompts of one batch all begin before the first is sent: none is inside another.
        _asking.set((run_id, _current_task()) if event.get("batch_size", 1) == 1 else None)

    def _run_of_its_own(
        self, parent: UUID | None, event: dict[str, Any], asked: Any
    ) -> dict[str, Any] | None:
        """What to say of the run that a call is when it was not made inside any."""
        if parent is not None:
            return None
        facts = mapping.run_facts(event.get("metadata"), event.get("tags"))
        return facts | {"name": event.get("name"), "input": asked}

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        if not mapping.is_control_flow(error):
            self._recorder.fail(run_id, error)
        elif (question := mapping.question_of(error)) is not None:
            self._recorder.wait(run_id, question)
        else:
            self._recorder.leave(run_id)
