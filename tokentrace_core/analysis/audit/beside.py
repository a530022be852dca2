"""Days are looked at one by one, so several can be at once: in as many processes as there are processors.

The other processes are interpreters of their own that import this module and nothing of the program that asks: it may be anybody's script,
and must not run twice. They get days by their standard input and answer with what those tell. Whatever goes wrong with one, its day is
looked at here. Few runs are not worth the start of an interpreter.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock, Thread
from typing import NamedTuple

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.days import Packed, look_at, packed, unpacked
from tokentrace_core.analysis.audit.looks import Case
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.trace import Day, Trace
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.connection import key_of, use_key
from tokentrace_core.store.pieces import Progress, Tell
from tokentrace_core.store.reader import Reader

#: Runs that take longer than an interpreter takes to start.
_MANY = 2_000
#: More processes than that take more memory than the wait is worth.
_MOST = 4
#: How often somebody who waits is told how far the others are.
_WAIT_S = 0.2


Other = subprocess.Popen[bytes]


class Work(NamedTuple):
    """What another process has to know: how to make a `Case`."""

    path: Path
    key: str | None
    scope: tuple[int | None, int | None, dict[str, tuple[str, ...]]]
    prices: PriceBook

    @classmethod
    def of(cls, case: Case) -> Work:
        trace = case.trace
        scope = trace.scope.since, trace.scope.until, dict(trace.scope.where)
        return cls(trace.reader.path, key_of(trace.reader.path), scope, case.account.rates.prices)

    def case(self, reader: Reader) -> Case:
        return Case(Trace(reader, Scope(*self.scope)), Account(CallRates(self.prices)))


def looked_at(days: Iterable[Day], case: Case, tell: Tell, done: int, every: int) -> dict[int, Packed]:
    """What each of these days tells, by its number. `done`: so many of `every` run need not be looked at."""
    shared = _Shared(deque(days), done)

    def count(runs: int) -> None:
        shared.count(runs)
        tell(Progress("looking at runs", shared.done, max(every, shared.done)))

    count(0)
    with ExitStack() as ending:
        threads = [
            _thread(process, work, shared, ending)
            for work, process in _started(case, _others(len(shared.days), every - done, case.trace.is_large))
        ]
        while shared.days or any(thread.is_alive() for thread in threads):
            while (day := shared.next()) is not None:
                shared.found[day.number] = packed(look_at(day, case, count))
            for thread in threads:
                thread.join(_WAIT_S)
                count(0)
    return shared.found


class _Shared:
    """What there is to be done, and what has been."""

    def __init__(self, days: deque[Day], done: int) -> None:
        self.days, self.done = days, done
        self.found: dict[int, Packed] = {}
        self._lock = Lock()

    def next(self) -> Day | None:
        with suppress(IndexError):
            return self.days.popleft()
        return None

    def count(self, runs: int) -> None:
        with self._lock:
            self.done += runs


# ── here ─────────────────────────────────────────────────────────────────────────────────────────────────


def _others(days: int, runs: int, is_large: bool) -> int:
    """How many processes are to work beside this one."""
    if runs < _MANY or not is_large or not sys.executable or getattr(sys, "frozen", False):
        return 0
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(min(processors, _MOST, days) - 1, 0)


def _started(case: Case, many: int) -> Iterator[tuple[bytes, Other]]:
    """Some processes, with what they have to be told; none if that cannot be done."""
    with suppress(Exception):  # a book of somebody's own may fail in any way
        work = pickle.dumps(Work.of(case)) if many else b""
        for _ in range(many):
            yield (
                work,
                subprocess.Popen(
                    [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                ),
            )


def _thread(process: Other, work: bytes, shared: _Shared, ending: ExitStack) -> Thread:
    thread = Thread(target=_let_look, args=(process, work, shared), name="tokentrace-audit", daemon=True)
    thread.start()
    ending.callback(_end, process, thread)
    return thread


def _end(process: Other, thread: Thread) -> None:
    process.kill()
    thread.join()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what it was still to be told
            pipe.close()  # type: ignore[union-attr]


def _let_look(process: Other, work: bytes, shared: _Shared) -> None:
    """Let another process look at days as long as there are some."""
    given, told = process.stdin, process.stdout
    assert given is not None
    assert told is not None
    while (day := shared.next()) is not None:
        counted = 0
        try:
            given.write(work + pickle.dumps(day))
            given.flush()
            while isinstance(answer := pickle.load(told), int):
                counted += answer
                shared.count(answer)
            unpacked(answer)  # or fails here, where the day can still be looked at by another
            shared.found[day.number] = answer
        except Exception:  # it is no more, or is something else: a pickle can fail in any way
            shared.count(-counted)
            shared.days.append(day)
            return
        work = b""


# ── there ────────────────────────────────────────────────────────────────────────────────────────────────


def serve() -> None:
    """Look at days until there are none: first the `Work` comes in, then they do; numbers of runs go out, and what each day tells."""
    given, told = sys.stdin.buffer, sys.stdout.buffer

    def answer(what: int | Packed) -> None:
        pickle.dump(what, told)
        told.flush()

    work: Work = pickle.load(given)
    if work.key is not None:
        use_key(work.path, work.key)
    with Reader(work.path) as reader, suppress(EOFError):
        case = work.case(reader)
        while True:
            answer(packed(look_at(pickle.load(given), case, answer)))
