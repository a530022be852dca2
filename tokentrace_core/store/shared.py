"""One writer per process and file: shared by all tracers of that file, through exit and fork.

After a fork the child gets a thread, a queue and a connection of its own. A fork waits for the batch being
written, and finds the file closed: SQLite believes in locks that a child only inherited the memory of.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path

from tokentrace_core.store import trace_file
from tokentrace_core.store.jsonl_writer import JsonlWriter, is_for_lines
from tokentrace_core.store.process_end import at_process_end, mind_multiprocessing
from tokentrace_core.store.trace_file import Durability
from tokentrace_core.store.writer import Writer

EXIT_S = 2.0
_FORK_S = 1.0
#: An import takes as long as the machine needs for it; one that hangs on a dead disk must not hang the fork as well.
_IMPORT_S = 10.0

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_by_path: dict[Path, tuple[Writer, int]] = {}
_registry = threading.Lock()


def open_writer(path: str | os.PathLike[str], durability: Durability = "normal") -> Writer:
    """The process's writer for a file; give it back with `release_writer`. The first one to ask says how durable."""
    resolved = _resolved(Path(path))
    with _registry:
        writer, users = _by_path.get(resolved, (None, 0))
        kind = JsonlWriter if is_for_lines(resolved) else Writer
        writer = writer or kind(resolved, durability)
        _writers.add(writer)
        _by_path[resolved] = (writer, users + 1)
    writer.start()
    mind_multiprocessing()
    return writer


def _resolved(path: Path) -> Path:
    """One name for one file. A path that cannot be one stays as it is: the writer's thread will find out, and say."""
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def release_writer(writer: Writer, timeout: float | None = EXIT_S) -> bool:
    """Flush; the last user ends the thread. False if not all could be written in time."""
    with _registry:
        _, users = _by_path.get(writer.path, (writer, 1))
        if users > 1:
            _by_path[writer.path] = (writer, users - 1)
        else:
            _by_path.pop(writer.path, None)
    return writer.flush(timeout) if users > 1 else writer.close(timeout)


def _flush_at_exit() -> None:
    """Also for a writer whose closing took too long: until the process ends, it may still make it."""
    deadline = time.monotonic() + EXIT_S
    for writer in list(_writers):
        writer.close(max(deadline - time.monotonic(), 0.0))


def _before_fork() -> None:
    _resting.writers = [writer for writer in list(_writers) if writer.rest(_FORK_S)]
    _resting.importing = trace_file.importing.acquire(timeout=_IMPORT_S)


def _after_fork_in_parent() -> None:
    if _resting.importing:
        trace_file.importing.release()
    for writer in _resting.writers:
        writer.go_on()


def _after_fork_in_child() -> None:
    global _registry
    _registry = threading.Lock()
    trace_file.importing = threading.Lock()
    for writer in list(_writers):
        _inherited.append(writer.begin_afresh())


_resting = threading.local()
#: Connections of writers that could not be brought to rest; not even to be closed here.
_inherited: list[object] = []
at_process_end(_flush_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
