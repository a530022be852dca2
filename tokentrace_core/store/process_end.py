"""What is done when a process ends; also one of multiprocessing, which may skip `atexit`.

A child that multiprocessing forks, itself or through its fork server, ends by `os._exit` after the finalizers
that it has registered itself: those of its parent it throws away when it begins. So ours are registered in the
child, after that. All of it is harmless to do twice.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any

_functions: list[Callable[[], None]] = []
_hooked = False
_over = False
#: The finalizer of this process, and the process it is for.
_finalizer: tuple[int, Any] | None = None


def is_over() -> bool:
    """Whether this process has come to its end: what is handed over now is not asked for any more."""
    return _over


def at_process_end(function: Callable[[], None]) -> None:
    """Call this when the process, or a fork of it, ends; the one registered last comes first."""
    _functions.append(function)


def mind_multiprocessing() -> None:
    """Do the same in children of multiprocessing. Only what is imported already is looked at."""
    global _hooked
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None:
        return
    if not _hooked:
        _hooked = True
        util.register_after_fork(_end, _finalize)
    if process.parent_process() is not None:
        _finalize()


def _finalize(_: object = None) -> None:
    """Register with the multiprocessing of this process, once; a fork has to do it again."""
    global _finalizer
    if _finalizer is None or _finalizer[0] != os.getpid() or not _finalizer[1].still_active():
        # Priority 0: before the child waits for its own children and queues, where it may well be killed.
        finalizer = sys.modules["multiprocessing.util"].Finalize(None, _end, exitpriority=0)
        _finalizer = os.getpid(), finalizer


def _end() -> None:
    for function in reversed(_functions):
        function()


def _end_for_good() -> None:
    global _over
    _end()
    _over = True


atexit.register(_end_for_good)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=mind_multiprocessing)
