"""CPU time, which other processes on the machine cannot spend."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import NamedTuple


class Seconds(NamedTuple):
    """What a piece of work took."""

    process: float
    """All threads."""
    thread: float
    """The one that did the work, which is the agent's."""

    @property
    def others(self) -> float:
        return self.process - self.thread


def cpu(work: Callable[[], object]) -> Seconds:
    """Do the work. What was there before is taken out of the garbage collector's sight: it is not the work's."""
    gc.collect()
    gc.freeze()
    process, thread = time.process_time(), time.thread_time()
    work()
    return Seconds(time.process_time() - process, time.thread_time() - thread)
