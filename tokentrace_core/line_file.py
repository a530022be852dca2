"""A text file to which several processes append whole lines.

One `write` per line, in append mode: the system puts it at the end whoever else writes, and nothing is held back in a
buffer, so a killed process leaves whole lines. A lock is held round it, for a line that is longer than what is written
in one go. A file that was rotated away is let go of, and a new one begun where the path leads.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: short lines are whole there, too
    fcntl = None  # type: ignore[assignment]

#: How often a file is looked for that is no longer where it was: asking takes longer than writing.
_LOOK_EVERY_S = 0.25


class LineFile:
    """Appends lines to the file that the path leads to. Safe to share between threads, and across a fork."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        self._handle: int | None = None
        self._file: tuple[int, int] | None = None
        self._looked_at = 0.0
        _all.add(self)

    def append(self, line: str) -> None:
        """Add one line; `line` has no line end in it. Raises OSError if it cannot be written."""
        data = line.encode() + b"\n"
        with self._lock:
            handle = self._open()
            try:
                if fcntl is not None:
                    fcntl.lockf(handle, fcntl.LOCK_EX)
                _write_all(handle, data)
            finally:
                if fcntl is not None:
                    fcntl.lockf(handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; the next line opens it again."""
        with self._lock:
            self._let_go()

    def _open(self) -> int:
        now = time.monotonic()
        if self._handle is not None and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            if self._file != _identity(self.path):
                self._let_go()
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            found = os.fstat(self._handle)
            self._file, self._looked_at = (found.st_dev, found.st_ino), now
        return self._handle

    def _let_go(self) -> None:
        handle, self._handle, self._file = self._handle, None, None
        if handle is not None:
            with suppress(OSError):
                os.close(handle)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _write_all(handle: int, data: bytes) -> None:
    """A disk that is nearly full takes a part of it: the rest is tried, and says what is the matter."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, data[written:])


_all: weakref.WeakSet[LineFile] = weakref.WeakSet()


def _forget_locks_of_parent() -> None:
    for file in list(_all):
        file._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks_of_parent)
