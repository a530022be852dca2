"""Everything that a recorder lets out: its files, what its commands print, its log lines, what it tells to receivers of
signals, the errors that it raises, and what its objects look like in a debugger.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import subprocess
import traceback
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.privacy.canaries.commands import LOG, printed
from tokentrace_core import BudgetExceeded, Tracer, logs, signals


class Outlets:
    """Hears all that comes out while agents are at work. `folder`: where the trace file is, and what lies beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._heard: dict[str, list[str | bytes]] = defaultdict(list)

    @contextmanager
    def open(self, tracer: Tracer) -> Iterator[None]:
        """Listen to this tracer, to our loggers and to warnings."""

        def receive(recorder: object, **fact: object) -> None:
            self._heard["receivers of signals"] += [repr(fact), _pickled(fact)]

        structured = logs.attach(tracer, self.folder / LOG, level=logging.DEBUG)
        log, lines = logging.getLogger("tokentrace"), _Lines(self._heard["log"])
        level = log.level
        log.addHandler(lines)
        log.setLevel(logging.DEBUG)
        announced = [*signals.CARRIES, signals.budget_warning, signals.budget_exceeded]
        for signal in announced:
            signal.connect(receive, sender=tracer.recorder)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                structured.close()
                log.removeHandler(lines)
                log.setLevel(level)
                for signal in announced:
                    signal.disconnect(receive, sender=tracer.recorder)
                ours = [one for one in warned if "tokentrace" in one.filename]
                self._heard["warnings"] += [str(one.message) for one in ours]

    def look_at(self, *things: object) -> None:
        """What an object says of itself, and what is left of it in a pickle."""
        self._heard["repr"] += [text for thing in things for text in (repr(thing), str(thing))]

    @contextmanager
    def raising(self, *own: type[BaseException]) -> Iterator[None]:
        """Errors end here: the agent's `own`, which are no outlet, and ours, which are."""
        try:
            yield
        except own:
            pass
        except BudgetExceeded as error:
            told = (str(error), repr(error), "".join(traceback.format_exception(error)))
            self._heard["errors"] += [*told, pickle.dumps(error)]

    def files(self, when: str) -> None:
        """All files as they are now, write-ahead log and locks included.

        Copied by a process of its own: to open a SQLite file beside SQLite takes its locks away.
        """
        with TemporaryDirectory() as copies:
            subprocess.run(["cp", "-R", str(self.folder), copies], check=True)
            for path in sorted(Path(copies).rglob("*")):
                if path.is_file():
                    self._heard[f"{path.name} {when}"].append(path.read_bytes())

    def commands(self, db: Path, secrets: str) -> None:
        """All commands of the command line, for people and as JSON. `secrets`: something to redact."""
        with TemporaryDirectory() as scratch:
            for command, text in printed(db, self.folder, secrets, Path(scratch)):
                self._heard[f"tokentrace {command}"].append(text)

    def came_out(self) -> dict[str, bytes]:
        return {
            outlet: b"\n".join(
                part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass") for part in parts
            )
            for outlet, parts in self._heard.items()
        }


class _Lines(logging.Handler):
    """Keeps lines as they would be printed, tracebacks included, and the records for whoever formats them otherwise."""

    def __init__(self, lines: list[str | bytes]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines += [self.format(record), str(record.msg), repr(record.args), repr(record.exc_info)]


def _pickled(fact: object) -> bytes:
    with contextlib.suppress(TypeError, pickle.PicklingError, AttributeError):
        return pickle.dumps(fact)
    return b""
