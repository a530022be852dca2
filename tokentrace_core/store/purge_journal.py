"""What a purge has begun and what was purged, beside the trace file: `traces.db.purging` and `traces.db.purged`.

`.purging` says whose data go and which ids they had, so that a purge that was killed can be ended, and proved. It is
overwritten and removed at the end. `.purged` is kept: a keyed hash and a time for each purge, so that a file that is put
back from a backup loses again what was deleted after the backup was made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from tokentrace_core.store.trace_file import beside


class Begun(NamedTuple):
    """A purge under way."""

    user: str
    runs: list[str]
    sessions: list[str]


class Done(NamedTuple):
    """A purge that was done."""

    user_hash: str
    at: int


class Journal:
    """The two files of one trace file."""

    def __init__(self, path: Path) -> None:
        self._purging = beside(path, ".purging")
        self._purged = beside(path, ".purged")

    def begin(self, user: str) -> None:
        _append(self._purging, {"user": user})

    def add(self, runs: list[str], sessions: list[str]) -> None:
        """These are about to be deleted."""
        _append(self._purging, {"runs": runs, "sessions": sessions})

    def begun(self) -> Begun | None:
        """The purge that was begun and not ended."""
        lines = _read(self._purging)
        user = next((line["user"] for line in lines if "user" in line), None)
        if user is None:
            return None
        ids = {
            kind: sorted({name for line in lines for name in line.get(kind, ())})
            for kind in ("runs", "sessions")
        }
        return Begun(user, ids["runs"], ids["sessions"])

    def end(self) -> None:
        """Proved: whose data went is not to be found here, either."""
        if self._purging.exists():
            with self._purging.open("r+b") as file:
                file.write(b"\0" * self._purging.stat().st_size)
                file.flush()
                os.fsync(file.fileno())
            self._purging.unlink()

    def note(self, done: Done) -> None:
        """Remember it for files that come back."""
        if done not in self.done():
            _append(self._purged, done._asdict())

    def done(self) -> list[Done]:
        return [Done(line["user_hash"], line["at"]) for line in _read(self._purged)]


def _append(path: Path, line: dict[str, object]) -> None:
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(f"\n{json.dumps(line)}\n")  # the line before may be half a one
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> list[dict[str, Any]]:
    """The whole lines: the last one may be half a line, of a process that was killed."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found
