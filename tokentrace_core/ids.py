"""Ids and clocks: ids sort by time and are valid W3C trace and span ids; durations never run backwards."""

from __future__ import annotations

import os
import random
import threading
import time

_lock = threading.Lock()
_last_span_id = 0


def new_run_id() -> str:
    """32 hex characters: 48 bits of milliseconds, then chance. A W3C trace id."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def new_span_id() -> str:
    """16 hex characters: microseconds, then 12 bits of chance. A W3C span id, strictly rising per process.

    Unique within a run, not in the whole file: 64 bits that also sort by time cannot promise more. The
    database's keys are therefore (run_id, id).
    """
    global _last_span_id
    with _lock:
        fresh = (time.time_ns() // 1_000 << 12 | random.getrandbits(12)) & 0xFFFF_FFFF_FFFF_FFFF
        _last_span_id = max(_last_span_id + 1, fresh)
        return f"{_last_span_id:016x}"


class Clock:
    """Wall time of one run: set once, then advanced by the monotonic clock, so that no duration is negative."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.perf_counter_ns()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return (self._offset + time.perf_counter_ns()) // 1_000


class Timeline:
    """Where a recorder gets its times and ids from. This one is the world's; a simulation brings its own."""

    def clock(self) -> Clock:
        """The time of one run."""
        return Clock()

    def run_id(self) -> str:
        return new_run_id()

    def span_id(self) -> str:
        return new_span_id()


def _begin_afresh() -> None:
    """A clock that was set back leaves the last id ahead of it: counted on from there, all children had the same ids."""
    global _lock, _last_span_id
    _lock, _last_span_id = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_afresh)
