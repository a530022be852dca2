"""Where the calling code is, by LangChain's own notes and one of ours.

LangChain notes in a context variable in which chain or tool code runs; that finds the place of anything begun
there without its callbacks. It does not note that a model asks another model, so that is noted here.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

#: The model run being asked, and the task that began it.
_asking: ContextVar[tuple[UUID, object] | None] = ContextVar("tokentrace_langchain_asking", default=None)


def current_run_id() -> UUID | None:
    """The LangChain chain or tool run that this code is called from."""
    config = var_child_runnable_config.get()
    return getattr(config.get("callbacks"), "parent_run_id", None) if config else None


def current_model_run_id() -> UUID | None:
    """The LangChain model run that this code is called from.

    LangChain runs the inside of an asynchronous call in a task of its own. The task that began it is outside,
    and runs on when the call is cancelled, of which LangChain tells nobody.
    """
    run_id, task = _asking.get() or (None, None)
    return run_id if task is None or task is not _current_task() else None


def begin_asking(run_id: UUID) -> None:
    """This code is about to ask a model."""
    _asking.set((run_id, _current_task()))


def stop_asking() -> None:
    """The model has begun to answer: from now on the code that listens runs here, too."""
    _asking.set(None)


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
