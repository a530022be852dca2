"""Our log lines pass the redactor, too: a fault of ours is logged with its traceback, and an exception's text may hold
whatever the agent was at work on.

Only our own loggers are touched. A record keeps its logger, level and place; its message and its traceback become
redacted text.
"""

from __future__ import annotations

import logging
import weakref
from typing import Protocol

OUR_LOGGERS = ("tokentrace", "tokentrace.budget")
_formatter = logging.Formatter()


class TextRedactor(Protocol):
    """What brings a line into the form in which it may be read."""

    def redact(self, text: str) -> str: ...


class RedactedLines(logging.Filter):
    """Lets every record through, in words that all redactors in use agree on."""

    def __init__(self) -> None:
        super().__init__()
        self.redactors: weakref.WeakSet[TextRedactor] = weakref.WeakSet()

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = self._redacted(record.getMessage()), ()
            if record.exc_info and not record.exc_text:
                record.exc_text = _formatter.formatException(record.exc_info)
            if record.exc_text:
                # With the exception itself a handler could format it once more.
                record.exc_text, record.exc_info = self._redacted(record.exc_text), None
        except Exception:
            record.msg, record.args = "[REDACTION_FAILED len=0]", ()
            record.exc_info = record.exc_text = None
        return True

    def _redacted(self, text: str) -> str:
        for redactor in list(self.redactors):
            text = redactor.redact(text)
        return text


_lines = RedactedLines()


def watch(redactor: TextRedactor) -> None:
    """From now on our log lines pass this redactor, as long as it is in use."""
    _lines.redactors.add(redactor)
    for name in OUR_LOGGERS:
        logging.getLogger(name).addFilter(_lines)
