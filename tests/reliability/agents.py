"""An agent that is recorded: what it answers, and how long each report to the recorder held it up."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.reliability.programs import USED
from tokentrace_core import Tracer

T = TypeVar("T")

_HELD_UP_S = 0.05
#: A machine that serves others takes processors away unseen: so many reports may be longer, and none as long as a lock.
_UNSEEN = 2
_EVER_S = 0.5


class Agent:
    """Works as long as it is asked to. Each piece of work is a run with a model call and a tool call."""

    def __init__(self, tracer: Tracer) -> None:
        self._recorder = tracer.recorder
        self._number = 0
        self.answers: list[int] = []
        self._longest: list[float] = []
        """The longest that reports kept it waiting; not for a processor, which is others' doing."""
        # Nor for Python to look through all that the tests have imported, which takes it 100 ms whoever records.
        gc.collect()
        gc.freeze()

    def work(self, text: str = "hello") -> None:
        self._number = number = self._number + 1
        report = self._report
        report(lambda: self._recorder.open_run(number, "agent", input=text))
        report(
            lambda: self._recorder.open_llm(
                (number, "llm"), parent=number, model="gpt-4o", messages=[{"role": "user", "content": text}]
            )
        )
        report(lambda: self._recorder.close_llm((number, "llm"), usage=USED, output={"content": text}))
        report(lambda: self._recorder.open_tool((number, "tool"), "square", parent=number, arguments=number))
        report(lambda: self._recorder.close_tool((number, "tool"), number**2))
        report(lambda: self._recorder.close_run(number, number**2))
        self.answers.append(number**2)

    def work_for(self, seconds: float, pause_s: float = 0.002, text: str = "hello") -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.work(text)
            time.sleep(pause_s)

    def check(self) -> None:
        """Its results are what they would be without us, and it was not held up."""
        gc.unfreeze()
        assert self.answers == [number**2 for number in range(1, self._number + 1)]
        longest = [f"{each * 1000:.0f} ms" for each in self._longest]
        assert self.held_up_s < _EVER_S, longest
        assert sum(each >= _HELD_UP_S for each in self._longest) <= _UNSEEN, longest

    @property
    def held_up_s(self) -> float:
        """The longest of all."""
        return max(self._longest, default=0.0)

    def _report(self, report: Callable[[], T]) -> None:
        waited, began = _waited_for_a_processor_s(), time.perf_counter()
        report()
        took = time.perf_counter() - began
        if took > min(self._longest, default=0.0) or len(self._longest) <= _UNSEEN:
            took -= _waited_for_a_processor_s() - waited
            self._longest = sorted([*self._longest, took])[-_UNSEEN - 1 :]


def _waited_for_a_processor_s() -> float:
    """How long threads of this process were ready to run, and did not; 0 where the system does not tell.

    All of them: whoever waits for one that waits for a processor waits for a processor.
    """
    waited = 0
    for thread in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError, IndexError, ValueError):
            waited += int(thread.read_text().split()[1])
    return waited / 1e9
