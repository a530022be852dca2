"""The lines of a user in our log files are blanked where they stand, while others append to them.

A line is the user's by its run, its session or its user, and not because it speaks of them. It becomes as many blanks, under
the lock that is held for each line that is appended: no other line moves, and readers skip it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Set
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody else may write meanwhile
    fcntl = None  # type: ignore[assignment]

#: The field of a line -> those of the user's.
Whose = Mapping[str, Set[str]]


def blank(log: Path, whose: Whose) -> int:
    """How many lines were the user's. Raises OSError for a file that cannot be written."""
    names = {json.dumps(name)[1:-1].encode() for some in whose.values() for name in some}
    if not names:
        return 0
    is_told = re.compile(b"|".join(map(re.escape, sorted(names)))).search
    count = at = 0
    with log.open("r+b") as file:
        _lock(file.fileno(), "LOCK_EX")
        try:
            for line in iter(file.readline, b""):
                if is_told(line) and _is_theirs(line, whose):
                    os.pwrite(file.fileno(), b" " * len(line.rstrip(b"\n")), at)
                    count += 1
                at += len(line)
            os.fsync(file.fileno())
        finally:
            _lock(file.fileno(), "LOCK_UN")
    return count


def _is_theirs(line: bytes, whose: Whose) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    return isinstance(record, dict) and any(
        _text(record.get(field)) in names for field, names in whose.items()
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _lock(handle: int, how: str) -> None:
    if fcntl is not None:
        act: Callable[[int, int], None] = fcntl.lockf
        act(handle, getattr(fcntl, how))
