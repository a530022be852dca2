"""Log files back into records: plain or gzipped, whole or torn.

A line that is no record is counted and skipped: a disk that was full, a process that was killed while it wrote, and
the lines of other programs in the same file are no reason to answer nothing.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from tokentrace_core.errors import LogError

_GZIP = b"\x1f\x8b"
#: Nobody writes a longer line; what has no line end is no log.
_LONGEST = 64_000_000

Record = dict[str, Any]


class LogFiles:
    """Records of log files, in the order of the lines. What was skipped is counted while they are read."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self.lines = 0
        self.broken = 0
        """Lines that are no JSON object, and files that end in the middle of one."""
        self.foreign = 0
        """JSON of somebody else's."""

    def __iter__(self) -> Iterator[Record]:
        for path in self._paths:
            yield from self._records(path)

    def _records(self, path: Path) -> Iterator[Record]:
        try:
            for line in lines_of(path):
                record = self._record(line)
                if record is not None:
                    yield record
        except EOFError:
            self.broken += 1  # cut off; what came before it counts

    def _record(self, line: bytes) -> Record | None:
        if not line.strip():
            return None
        self.lines += 1
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            self.broken += 1
            return None
        if not isinstance(record.get("message"), str) or "trace_id" not in record:
            self.foreign += 1
            return None
        return record


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, gzipped or not. Raises EOFError at the end of one that was cut off, and LogError."""
    try:
        with ExitStack() as opened:
            file = opened.enter_context(_opened(path))
            while line := file.readline(_LONGEST):
                yield line
    except (zlib.error, gzip.BadGzipFile) as error:
        raise EOFError from error
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from error


def began_at(record: Record) -> datetime | None:
    """When what a line tells of began, UTC; None if the line does not say."""
    try:
        at = datetime.fromisoformat(record["timestamp"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.astimezone(UTC) - timedelta(microseconds=round((number(record, "latency_ms") or 0) * 1_000))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def number(record: Record, name: str) -> float | None:
    """A figure of a line; None if it is none."""
    value = record.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return value


def count(record: Record, name: str) -> int:
    """A count of a line; 0 if it is none."""
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def text(record: Record, name: str) -> str | None:
    """A text of a line; None if it is none."""
    value = record.get(name)
    return value if isinstance(value, str) else None


def _opened(path: Path) -> IO[bytes]:
    file = path.open("rb")
    if file.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:  # which also a pipe lets one do
        return file
    return io.BufferedReader(gzip.GzipFile(fileobj=file))
