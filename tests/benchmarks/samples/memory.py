"""The peak of this process's memory, by itself and with the processes that it starts."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

_OFTEN_S = 0.05
_STATUS = Path("/proc/self/status")


def peak() -> int:
    """Bytes. Linux counts in `ru_maxrss` what the parent had when it forked, so it is asked elsewhere."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class PeakOfAll(Thread):
    """Watches this process with those that it has started (on Linux; elsewhere this one alone)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._most, self._over = 0, Event()

    def __enter__(self) -> PeakOfAll:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(_OFTEN_S):
            self._most = max(self._most, sum(map(_resident, [os.getpid(), *_started()])))

    @property
    def bytes(self) -> int:
        return max(self._most, peak())


def _started() -> list[int]:
    found: list[int] = []
    for thread in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text().split())
    return found


def _resident(process: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
