"""What the processes of a campaign do. Each says in a journal of its own what it was told is recorded."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from tokentrace_core import Tracer, Usage
from tokentrace_core.store import lease, schema  # noqa: F401 - imported once for all: that is not what is measured

USED = Usage(input_uncached_tokens=1_000, output_tokens=100)


class Journal:
    """Lines that survive the process: time, what, of which run, which."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def note(self, what: str, run: str = "-", span: str = "-") -> None:
        os.write(self._file, f"{time.monotonic_ns()} {what} {run} {span}\n".encode())


def record_until_killed(db: Path, journal_path: Path, seed: int) -> None:
    """Runs with model and tool calls, some of them left open, a flush now and then."""
    journal, chance = Journal(journal_path), random.Random(seed)
    tracer = Tracer(db)
    recorder = tracer.recorder
    history = [{"role": "user", "content": f"question {seed}"}]
    number = 0
    while True:
        number += 1
        run = recorder.open_run(number, "agent", session=f"session {number % 5}")
        journal.note("begun", run.id)
        for step in range(chance.randint(1, 12)):
            call = recorder.open_llm((number, step), parent=number, model="gpt-4o", messages=history)
            assert call is not None
            time.sleep(0.001)
            recorder.close_llm((number, step), usage=USED, output={"content": f"answer {step}"})
            journal.note("asked", run.id, call.id)
            tool = recorder.open_tool((number, step, "tool"), "lookup", parent=number, arguments=step)
            assert tool is not None
            recorder.close_tool((number, step, "tool"), "found", cost_usd="0.001")
            journal.note("used", run.id, tool.id)
            if chance.random() < 0.03 and tracer.flush(20):
                journal.note("flushed")
        if chance.random() < 0.8:
            recorder.close_run(number, "done")
            journal.note("closed", run.id)


def begin_a_file(db: Path, journal_path: Path) -> None:
    """Make the file, and say just before."""
    journal = Journal(journal_path)
    journal.note("begins")
    tracer = Tracer(db)
    with tracer.run("the first"):
        tracer.flush()
    journal.note("has begun")
    time.sleep(60)


def run_until_told(db: Path, journal_path: Path, told: Path, beat_s: float, dead_after_s: float) -> None:
    """One run, which goes on until a file appears; then two calls more, and its end."""
    lease.BEAT_S, lease.DEAD_AFTER_S = beat_s, dead_after_s
    journal = Journal(journal_path)
    tracer = Tracer(db)
    with tracer.run("agent") as run:
        with run.step("the first"):
            with run.llm("gpt-4o") as call:
                call.done("one", usage=USED)
            journal.note("begun", run.id or "-")
            while not told.exists():
                time.sleep(0.01)
        with run.llm("gpt-4o") as call:
            call.done("two", usage=USED)
    tracer.flush(20)
    journal.note("closed", run.id or "-")


def record_from_threads(db: Path, journal_path: Path, threads: int, events: int, per_run: int) -> None:
    """So many tool calls from each thread. No faster than the file takes them: a line that is full drops."""
    journal = Journal(journal_path)
    tracer = Tracer(db)
    slowest = [0.0] * threads

    def work(place: int) -> None:
        recorder = tracer.recorder
        for first in range(0, events, per_run):
            key = ("run", place, first)
            recorder.open_run(key, "agent")
            for number in range(first, first + per_run):
                began = time.perf_counter()
                recorder.open_tool((place, number), "lookup", parent=key, arguments=number)
                recorder.close_tool((place, number), number)
                slowest[place] = max(slowest[place], time.perf_counter() - began)
            recorder.close_run(key)
            while not tracer.flush(60):
                journal.note("still", "waiting")

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    closed = tracer.close(60)
    lost = sum(tracer.losses.values())
    journal.note("closed" if closed else "unclosed", str(lost), f"{max(slowest) * 1000:.1f}")


def record_when_told(db: Path, journal_path: Path, go: Path) -> None:
    """Ten runs, as soon as a file appears."""
    journal = Journal(journal_path)
    while not go.exists():
        time.sleep(0.001)
    tracer = Tracer(db)
    for _ in range(10):
        with tracer.run("agent") as run, run.tool("lookup"):
            pass
    closed = tracer.close(30)
    journal.note("closed" if closed else "unclosed", str(sum(tracer.losses.values())))


def fork_under_load(db: Path, journal_path: Path, forks: int) -> None:
    """Two threads record while the process forks again and again; each child records, flushes, and is gone."""
    journal, over = Journal(journal_path), threading.Event()
    tracer = Tracer(db)

    def load(place: int) -> None:
        while not over.is_set():
            with tracer.run("parent's") as run, run.llm("gpt-4o", messages=[f"{place}"]) as call:
                call.done("done", usage=USED)
            journal.note("recorded", run.id or "-")
            time.sleep(0.001)

    threads = [threading.Thread(target=load, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for number in range(forks):
        began = time.monotonic()
        child = os.fork()
        if not child:
            with tracer.run(f"child's {number}") as run, run.llm("gpt-4o") as call:
                call.done("done", usage=USED)
            os._exit(0 if tracer.flush(30) and not tracer.losses else 1)
        took = time.monotonic() - began
        status = _wait_for(child, 30.0)
        journal.note("ended" if status == 0 else "hung" if status is None else "failed", "-", f"{took:.3f}")
    over.set()
    for thread in threads:
        thread.join()
    journal.note("closed" if tracer.close(30) else "unclosed", str(sum(tracer.losses.values())))


def serve_by_workers(db: Path, journal_path: Path, workers: int, at_once: int, runs: int) -> None:
    """The tracer is made first, then workers are forked that serve a while and end, and are replaced."""
    journal = Journal(journal_path)
    tracer = Tracer(db)
    with tracer.run("at start"):
        pass
    alive: list[int] = []
    for number in range(workers + at_once):
        if len(alive) == at_once or number >= workers:
            status = _wait_for(alive.pop(0), 30.0)
            journal.note("ended" if status == 0 else f"status-{status}", str(_open_files()), str(_threads()))
        if number < workers:
            child = os.fork()
            if not child:
                for _ in range(runs):
                    with tracer.run(f"worker {number}") as run, run.tool("lookup"):
                        pass
                sys.exit(0)
            alive.append(child)
            with tracer.run("the master's"):
                pass
    journal.note("closed" if tracer.close(30) else "unclosed", str(sum(tracer.losses.values())))


def _wait_for(child: int, patience_s: float) -> int | None:
    """The child's exit status; None if it had to be killed."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


def _threads() -> int:
    return threading.active_count()


_tracer: Tracer | None = None


def make_tracer(db: Path) -> None:
    """What a pool's worker does first."""
    global _tracer
    _tracer = Tracer(db)


def work_in_pool(number: int) -> int:
    assert _tracer is not None
    with _tracer.run("agent") as run, run.llm("gpt-4o", messages=[str(number)]) as call:
        call.done("done", usage=USED)
    return os.getpid()
