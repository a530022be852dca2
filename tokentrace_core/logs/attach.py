"""Where lines go: to the loggers as they are set up, and to a file or handler that was asked for."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from blinker import ANY

from tokentrace_core.line_file import LineFile
from tokentrace_core.logs.events import Line, Narrator
from tokentrace_core.logs.form import JsonLines
from tokentrace_core.shield import warn_once

if TYPE_CHECKING:
    from tokentrace_core.recorder import Recorder
    from tokentrace_core.tracer import Tracer

Target = str | os.PathLike[str] | logging.Handler

_attached: weakref.WeakKeyDictionary[Recorder, list[RunLog]] = weakref.WeakKeyDictionary()


def attach(
    tracer: Tracer,
    target: Target | None = None,
    *,
    level: int | str = logging.INFO,
    debug_runs: Iterable[str] = (),
) -> RunLog:
    """Log what this tracer records, until `close()` on what is given back, or as long as the tracer lives.

    `target`: a file to append to (safe for several processes, and to rotate), or a handler; without one the lines go
    where the loggers `tokentrace` and `tokentrace.llm` lead. `level`: from which on the target gets them; a handler's
    own level holds, too. `debug_runs`: ids of runs of which everything is logged; see `RunLog.debug`.
    """
    log = RunLog(tracer.recorder, target, level, debug_runs)
    _attached.setdefault(tracer.recorder, []).append(log)
    if isinstance(target, str | os.PathLike):
        tracer.writes_log(Path(target))
    return log


class RunLog:
    """A log that is attached to a tracer."""

    def __init__(
        self, recorder: Recorder, target: Target | None, level: int | str, debug_runs: Iterable[str]
    ) -> None:
        self._target = _handler(target)
        self._level = logging._checkLevel(level)  # type: ignore[attr-defined]
        self._debugged = frozenset(debug_runs)
        self._recorder = weakref.ref(recorder)
        self._narrator = Narrator(self._is_wanted, self._write)
        for signal, receiver in self._narrator.receivers:
            signal.connect(receiver, sender=recorder)

    def debug(self, *run_ids: str) -> None:
        """Log everything of these runs from now on: their prompts and answers, too, redacted."""
        self._debugged |= set(run_ids)

    @property
    def lost(self) -> int:
        """Lines that could not be written to the file."""
        return self._target.lost if isinstance(self._target, _FileHandler) else 0

    def close(self) -> None:
        """Log no more. A handler that was given stays open: it is its owner's."""
        recorder = self._recorder()
        for signal, receiver in self._narrator.receivers:
            signal.disconnect(receiver, sender=recorder if recorder is not None else ANY)
        if recorder is not None and self in _attached.get(recorder, []):
            _attached[recorder].remove(self)
        if isinstance(self._target, _FileHandler):
            self._target.close()

    def _is_wanted(self, level: int, logger: str, run_id: str | None) -> bool:
        """Whether anybody would see it: a line that nobody sees is not made."""
        return (
            (self._target is not None and level >= self._level)
            or run_id in self._debugged
            or _leads_anywhere(logging.getLogger(logger), level)
        )

    def _write(self, line: Line) -> None:
        logger = logging.getLogger(line.logger)
        record = logger.makeRecord(line.logger, line.level, "", 0, line.event, (), None, None, line.facts)
        if line.at is not None:
            record.created, record.msecs = line.at / 1_000_000, line.at % 1_000_000 // 1_000
        debugged = line.facts.get("trace_id") in self._debugged
        target = self._target
        if target is not None and (line.level >= self._level or debugged) and line.level >= target.level:
            target.handle(record)
        if _leads_anywhere(logger, logging.CRITICAL if debugged else line.level):
            logger.handle(record)


def _leads_anywhere(logger: logging.Logger, level: int) -> bool:
    """Without a handler, logging would print the bare name of the event to stderr."""
    return logger.isEnabledFor(level) and logger.hasHandlers()


class _FileHandler(logging.Handler):
    """A file of whole lines. Of what cannot be written the agent does not hear: it is counted, and said once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._file = LineFile(path)
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._file.append(self.format(record))
        except Exception as error:
            self.lost += 1
            warn_once(f"the log {self._file.path} cannot be written ({error}); the agent goes on")

    def close(self) -> None:
        self._file.close()
        super().close()


def _handler(target: Target | None) -> logging.Handler | None:
    if target is None:
        return None
    if not isinstance(target, logging.Handler):
        return _FileHandler(target)
    if target.formatter is None:
        target.setFormatter(JsonLines())
    return target
