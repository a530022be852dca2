"""The recorders that are compared, each attached as its own documentation says.

A peer lives in a module of `peers/`, and runs in the virtual environment that has it; here are those that need none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.callbacks import BaseCallbackHandler, CallbackManager

from tests.benchmarks.samples import Place

#: Where tokentrace, and a peer that keeps a file, write.
FILE = "traces.db"


class Attached(NamedTuple):
    """A recorder, ready to record."""

    callbacks: list[Any] | None = None
    """What a run is given in its config; None for a recorder that attaches itself to the whole process."""
    handler: Any = None
    """What is told the events of a replay."""
    flush: Callable[[], object] = lambda: None
    """Wait until all is delivered."""
    stored: Callable[[], int | None] = lambda: None
    """How many spans are in its file, if it keeps one."""
    close: Callable[[], object] = lambda: None
    """Let go of the file."""
    records_chains: bool = True
    """Of LangChain's chains, which are half of what happens, tokentrace keeps the links and no spans."""


class NoOp(BaseCallbackHandler):
    """Listens to everything and does nothing: what LangChain itself costs once anybody listens."""

    run_inline = True

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Without this, LangChain would make one long string of the messages and call `on_llm_start`."""


def attach(place: Place) -> Attached:
    """Attach the recorder that is asked for."""
    if place.recorder in _OURS:
        return _OURS[place.recorder](place)
    peer: Attached = import_module(f"tests.benchmarks.peers.{place.recorder}").attach(place)
    return peer


def attached_to_process(
    flush: Callable[[], object], stored: Callable[[], int | None] = lambda: None
) -> Attached:
    """A recorder that put its handler into every callback manager there will be."""
    (handler,) = CallbackManager.configure().handlers
    return Attached(None, handler, flush, stored)


def counted(file: Path, query: str) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _nothing(_: Place) -> Attached:
    return Attached()


def _no_op(_: Place) -> Attached:
    handler = NoOp()
    return Attached([handler], handler)


def _tokentrace(place: Place) -> Attached:
    """Everything on: budget, redaction, prices, and the store behind the signals."""
    # Here, because a peer's environment has no tokentrace, and a bare process should not have it loaded.
    from tokentrace_core import Budget, Tracer
    from tokentrace_langchain import TokentraceHandler

    tracer = Tracer(place.folder / FILE, budget=Budget(run_usd=100, steps=100_000))
    handler = TokentraceHandler(tracer)
    calls = "select (select count(*) from llm_calls) + (select count(*) from tool_calls)"

    def stored() -> int:
        return counted(place.folder / FILE, calls)

    return Attached([handler], handler, tracer.flush, stored, tracer.close, records_chains=False)


_OURS: dict[str, Callable[[Place], Attached]] = {
    "nothing": _nothing,
    "no-op": _no_op,
    "tokentrace": _tokentrace,
}
