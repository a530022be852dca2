"""The writer: one thread and one connection; in its process nobody else writes to the file.

Spans are handed over as they are, several times in their life (start, end); the row is made when its batch is
written, so it is always the latest state, and a span that began and ended within one batch is one write. The
agent's thread only puts a reference into a queue. Hashing, redacting and encoding happen here.

Trouble with the file never reaches the agent: a locked file is tried again, anything else costs the batch,
which is counted by reason and said in the log.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import LLMCall, Run, Session
from tokentrace_core.store.losses import Losses
from tokentrace_core.store.rows import (
    INSERT_MESSAGE,
    INSERT_PROMPT,
    STATEMENTS,
    message_row,
    prompt_row,
    waiting_run,
)
from tokentrace_core.store.trace_file import TraceFile

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

_BATCH = 500
_BATCH_S = 0.2
_QUEUE_LIMIT = 100_000
#: How long one batch is tried on a locked file, and the longest pause in between.
_LOCKED_PATIENCE_S = 120.0
_LOCKED_PAUSE_S = 0.5


class _Flush:
    """A note in the queue: everything before it is to be written."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Writer:
    """Writes spans to one file. `losses` counts what could not be stored, by reason."""

    _thread: threading.Thread | None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin_afresh()

    @property
    def losses(self) -> dict[str, int]:
        return self._losses.by_reason()

    def put(self, span: object) -> None:
        """Hand over a span that began, changed or ended. Never blocks."""
        if self._queue.qsize() > _QUEUE_LIMIT and not isinstance(span, Run | Session):
            self._lose("queue full", [span])
            return
        self._queue.put(span)
        if self._thread is None:
            self.start()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was handed over is written. False if that took longer than `timeout` seconds."""
        if self._thread is None and self._queue.empty():
            return True
        note = _Flush()
        self._queue.put(note)
        self.start()
        return note.done.wait(timeout)

    def close(self, timeout: float | None) -> bool:
        """Flush and end the thread. What is not written by then counts as lost, unless the thread still makes it."""
        thread = self._thread
        self._closing = True
        done = self.flush(timeout)
        if not done:
            self._count_what_waits()
        elif thread is not None:
            thread.join(timeout)
        self._losses.say_rest()
        return done

    def rest(self, timeout: float) -> bool:
        """Let go of the file until `go_on`. False if a batch took longer than `timeout` seconds."""
        resting = self._busy.acquire(timeout=timeout)
        if resting:
            self._file.close()
        return resting

    def go_on(self) -> None:
        self._busy.release()

    def recall(self, session_id: str) -> Run | None:
        """The run of this session that waits for a human, as another process left it; None if there is none."""
        try:
            connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=0.05)
        except (sqlite3.Error, ValueError):  # no file yet, or no path that could be one
            return None
        try:
            return waiting_run(connection, session_id)
        except sqlite3.Error:
            return None
        finally:
            connection.close()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────

    def begin_afresh(self) -> object:
        """Have a thread, a queue and a connection of one's own; gives back the connection that was there."""
        before = getattr(self, "_file", None)
        self._queue: SimpleQueue[object] = SimpleQueue()
        self._in_hand: dict[int, object] = {}
        self._thread = None
        self._closing = False
        self._handover = threading.Lock()
        """Held while the thread begins or ends, and while what waits is counted."""
        self._busy = threading.Lock()
        """Held while a fork would leave the child half a transaction or half an import."""
        self._file = TraceFile(self.path)
        self._losses = Losses(self.path)
        self._trouble: str | None = None
        return before

    def start(self) -> None:
        """Have a thread: it creates the file before the first span comes."""
        if self._thread is None:
            with self._handover:
                if self._thread is None:
                    self._closing = False
                    thread = threading.Thread(target=self._work, name="tokentrace-writer", daemon=True)
                    thread.start()
                    self._thread = thread

    def _work(self) -> None:
        self._attempt(lambda _: None)
        while True:
            spans, notes = self._next_batch()
            if spans:
                try:
                    self._store(spans)
                except Exception:  # the thread must live, or a flush would wait for ever
                    log.exception("tokentrace: a batch could not be written")
                    self._lose("internal error", spans)
            del spans  # else what was stored is held until the next batch comes
            for note in notes:
                note.done.set()
            if self._closing and self._may_end():
                with self._busy:
                    self._file.close()
                return

    def _may_end(self) -> bool:
        """Be the thread no longer, unless something came. `put` puts and then looks for a thread: the other way round."""
        with self._handover:
            self._thread = None
            if self._queue.empty():
                return True
            self._thread = threading.current_thread()
            return False

    def _next_batch(self) -> tuple[list[object], list[_Flush]]:
        """What has come within the batch time; at once if someone waits for it or a run has begun."""
        spans = self._in_hand = {}
        notes: list[_Flush] = []
        until = None
        while len(spans) < _BATCH:
            try:
                wait = None if until is None else max(until - time.monotonic(), 0)
                item = self._queue.get(timeout=wait) if wait is None or wait else self._queue.get_nowait()
            except Empty:
                break
            until = until or time.monotonic() + _BATCH_S
            if isinstance(item, _Flush):
                notes.append(item)
                until = 1e-9
            else:
                spans[id(item)] = item
                if isinstance(item, Run):
                    until = 1e-9
        return list(spans.values()), notes

    def _store(self, spans: list[object]) -> None:
        unfit: list[object] = []

        def write(database: Database) -> None:
            unfit[:] = [span for span in spans if not self._write_span(database.conn, span)]

        failure = self._attempt(write)
        with self._handover:
            self._in_hand = {}
            if failure is None:
                self._losses.uncount(spans)
        if failure is not None:
            self._lose(failure, spans)
        elif unfit:
            self._lose("not encodable", unfit)

    def _write_span(self, connection: sqlite3.Connection, span: object) -> bool:
        """False if nothing can be made of this one."""
        try:
            statement = STATEMENTS[type(span)]
            if isinstance(span, LLMCall):
                self._write_texts(connection, span)
            connection.execute(statement.sql, statement.row(span))
        except sqlite3.Error:
            raise
        except Exception:
            log.exception("tokentrace: a span could not be encoded")
            return False
        return True

    def _write_texts(self, connection: sqlite3.Connection, call: LLMCall) -> None:
        for payload in (call.tools, call.output):
            if payload is not None:
                self._write_message(connection, payload)
        prompt = call.prompt
        new: list[Prompt] = []
        while prompt is not None and not self._file.knows(prompt.id):
            new.append(prompt)
            prompt = prompt.parent
        for node in reversed(new):
            self._write_message(connection, node.message)
            connection.execute(INSERT_PROMPT, prompt_row(node))
            self._file.remember(node.id)

    def _write_message(self, connection: sqlite3.Connection, message: Payload) -> None:
        if not self._file.knows(message.id):
            connection.execute(INSERT_MESSAGE, message_row(message))
            self._file.remember(message.id)

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    def _attempt(self, write: Callable[[Database], None]) -> str | None:
        """Run one write transaction, again while the file is locked. Why it was given up; None if it is written."""
        patience = time.monotonic() + _LOCKED_PATIENCE_S
        pause = 0.05
        while True:
            with self._busy:
                try:
                    database = self._file.open()
                    with database.atomic():
                        write(database)
                    self._trouble = None
                    return None
                except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
                    self._trouble = f"{type(error).__name__}: {error}"
                    self._file.forget()
                    if not _is_locked(error) or time.monotonic() > patience:
                        self._file.close()
                        return self._trouble
            time.sleep(pause)
            pause = min(pause * 2, _LOCKED_PAUSE_S)

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────────

    def _lose(self, reason: str, spans: list[object]) -> None:
        self._losses.count(reason, spans)
        self._losses.say(reason)

    def _count_what_waits(self) -> None:
        """The batch in hand and the queue, which is taken out and put back: the thread may still get to it."""
        with self._handover:
            waiting: list[object] = []
            with suppress(Empty):
                for _ in range(self._queue.qsize()):
                    waiting.append(self._queue.get_nowait())
            for item in waiting:
                self._queue.put(item)
            spans = [*self._in_hand.values(), *(item for item in waiting if not isinstance(item, _Flush))]
            self._losses.count(self._trouble or "not written in time", spans)


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))
