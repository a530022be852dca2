"""A process that records for days: memory, threads and open files stay as they were."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.programs import USED
from tokentrace_core import Tracer
from tokentrace_core.recorder import Recorder

Rows = Callable[..., list[tuple[Any, ...]]]

_CALLS_PER_RUN = 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Soak:
    """Runs of ten model calls and ten tool calls each, with the history that an agent resends."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.events = 0
        self.runs = 0

    def record(self, events: int) -> None:
        """So many events: a call that began or ended, and the beginning and end of its run."""
        recorder, end = self._tracer.recorder, self.events + events
        while self.events < end:
            key = ("run", self.runs)
            self.runs += 1
            history: list[dict[str, str]] = [{"role": "user", "content": f"question {self.runs}"}]
            recorder.open_run(key, "agent", session=f"session {self.runs % 50}", input=history[0]["content"])
            for number in range(_CALLS_PER_RUN // 2):
                call, tool = (key, number), (key, number, "tool")
                recorder.open_llm(call, parent=key, model="gpt-4o", messages=history)
                recorder.close_llm(call, usage=USED, output={"role": "assistant", "content": f"{number}"})
                recorder.open_tool(tool, "lookup", parent=key, arguments={"number": number})
                recorder.close_tool(tool, f"result {self.runs}.{number}")
                history.append({"role": "tool", "content": f"result {self.runs}.{number}"})
            recorder.close_run(key, "done")
            self.events += 2 * _CALLS_PER_RUN + 2
            if self.runs % 25 == 0:  # no faster than the disk takes it: what is not written yet is memory
                assert self._tracer.flush(60)


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory is used"
)
def test_a_million_events_leave_the_process_as_it_was(
    db: Path, rows: Rows, length: Callable[[float, float], float], figures: Callable[..., None]
) -> None:
    total = int(length(20_000, 1_000_000))
    with Tracer(db) as tracer:
        soak = Soak(tracer)
        began = time.monotonic()
        soak.record(total // 10)
        first = resident_bytes(), threading.active_count(), open_files()
        most = first[0]
        for _ in range(9):
            soak.record(total // 10)
            most = max(most, resident_bytes())
        took = time.monotonic() - began
        assert tracer.flush(60)
        assert tracer.losses == {}
        assert tracer.recorder.open_parts == 0
        assert (threading.active_count(), open_files()) == first[1:]
        growth = most / first[0] - 1
        assert growth <= length(0.15, 0.05), "the short one is over before every cache is full"
        held = len(tracer._writer._lease._open_runs), len(tracer._writer._owed)
        assert held == (0, 0)
    assert rows("select count(*) from runs where status = 'success'") == [(soak.runs,)]
    assert rows("select count(*) from llm_calls where status = 'success'") == [(soak.runs * 10,)]
    assert rows("select count(*) from tool_calls where status = 'success'") == [(soak.runs * 10,)]
    figures(
        events=soak.events,
        seconds=round(took, 1),
        resident_mb=f"{first[0] / 1e6:.1f} -> {most / 1e6:.1f}",
        growth_percent=round(100 * growth, 1),
        threads=first[1],
        open_files=first[2],
        bytes_per_event=round(db.stat().st_size / soak.events),
    )


def test_runs_that_never_end_are_given_up_oldest_first_and_take_no_more_memory(
    db: Path, rows: Rows, length: Callable[[int, int], int], figures: Callable[..., None]
) -> None:
    most, begun = length(500, 10_000), length(1_500, 30_000)
    with Tracer(db) as tracer:
        tracer.recorder._runs._open_runs = most
        parts = 0
        for number in range(begun):
            tracer.recorder.open_run(number, "never ends")
            tracer.recorder.open_llm((number, "call"), parent=number, model="gpt-4o", messages=["hello"])
            if number % 100 == 0:
                assert tracer.flush(60)
            parts = max(parts, tracer.recorder.open_parts)
        assert tracer.flush(60)
        assert parts <= 2 * (most + 1)
        assert len(tracer._writer._lease._open_runs) <= most + 1
        assert rows("select count(*) from runs where status = 'interrupted'") == [(begun - most,)]
        assert tracer.losses == {}
    assert tracer.recorder.open_parts == 0
    assert rows("select count(*) from runs where status = 'interrupted'") == [(begun,)]
    assert rows("select count(*) from llm_calls where status = 'running'") == [(0,)]
    figures(begun=begun, open_at_once=most, parts_held=parts)


def test_runs_that_never_end_are_bounded_without_being_told_so() -> None:
    recorder = Recorder()
    for number in range(10_050):
        recorder.open_run(number, "never ends")
    assert recorder.open_parts <= 10_000
    recorder.close_all()
    assert recorder.open_parts == 0


def test_a_tracer_opened_and_closed_again_and_again_leaves_no_thread_and_no_file_open(
    db: Path, rows: Rows
) -> None:
    def once() -> None:
        with Tracer(db) as tracer, tracer.run("agent"):
            pass
        tracer.close()
        with tracer.run("after its end"):
            pass

    once()
    before = threading.active_count(), open_files()
    for _ in range(50):
        once()
    assert (threading.active_count(), open_files()) == before
    assert rows("select count(*) from runs where name = 'agent'") == [(51,)]
