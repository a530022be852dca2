"""The form of a line: one JSON object in ASCII, with the event, when and where, and the facts of the record."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

#: What every record has, and what a formatter adds.
_OF_LOGGING = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Formats any record as one JSON object, `extra` as its keys: ours, and your own beside them.

    Only ASCII comes out, so no text in a record can end the line, in any reader's idea of a line, or move a cursor.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": _moment(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: fact for name, fact in record.__dict__.items() if name not in _OF_LOGGING}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        elif record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, default=_type_of, separators=(",", ":"), skipkeys=True)


class DebugOfRuns(logging.Filter):
    """Lets DEBUG through for these runs only: for a handler whose logger is at DEBUG. `runs` may change meanwhile."""

    def __init__(self, *run_ids: str) -> None:
        super().__init__()
        self.runs = set(run_ids)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or getattr(record, "trace_id", None) in self.runs


def _type_of(value: object) -> str:
    """No code of an unknown type is run for a log line."""
    return f"<{type(value).__name__}>"


def _moment(seconds: float) -> str:
    # Not by `fromtimestamp(seconds)`, which loses the last digit of a microsecond now and then.
    us = round(seconds * 1_000_000)
    whole = datetime.fromtimestamp(us // 1_000_000, UTC)
    return whole.replace(microsecond=us % 1_000_000).isoformat(timespec="microseconds").replace("+00:00", "Z")
