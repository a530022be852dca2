"""Recording every LangChain run of the process, without touching the code that starts it.

LangChain takes process-wide handlers from context variables it is told of, and has no way to forget one. So
one variable is registered once, with a handler as its default (a default also reaches threads that inherit no
context), and switching off means that this handler asks for no events.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from langchain_core.tracers.context import register_configure_hook

from tokentrace_core import Tracer, default_tracer
from tokentrace_langchain.handler import TokentraceHandler


class _ProcessHandler(TokentraceHandler):
    """A handler that can be switched off and be given another tracer."""

    def __init__(self) -> None:
        self.enabled = False

    def record_to(self, tracer: Tracer) -> None:
        self._use(tracer)
        self.enabled = True

    def _ignored(self) -> bool:
        return not self.enabled

    ignore_chain = ignore_llm = ignore_chat_model = property(_ignored)
    ignore_agent = ignore_retriever = ignore_custom_event = property(_ignored)


_handler = _ProcessHandler()
_variable: ContextVar[Any] = ContextVar("tokentrace_langchain", default=_handler)
_registered = False


def instrument(tracer: Tracer | None = None) -> None:
    """Record every LangChain and LangGraph run from here on; without a tracer, with the default one.

    Calling it again changes the tracer. A `TokentraceHandler` of the same tracer on a call records once.
    """
    global _registered
    _handler.record_to(tracer or default_tracer())
    if not _registered:
        _registered = True
        register_configure_hook(_variable, inheritable=True)


def uninstrument() -> None:
    """Stop recording process-wide. Handlers that were passed explicitly go on."""
    _handler.enabled = False
