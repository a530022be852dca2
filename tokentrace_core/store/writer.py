"""The writer: one thread and one connection; in its process nobody else writes to the file.

Spans are handed over as they are, several times in their life (start, end); the row is made when its batch is
written, so it is always the latest state, and a span that began and ended within one batch is one write. The
agent's thread only puts a reference into a line. Hashing, redacting and encoding happen here.

Trouble with the file never reaches the agent: a locked file is tried again, a damaged one is moved aside, anything
else costs the batch, which is counted by reason, said in the log, and stored when the file can be written again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import LLMCall, Run
from tokentrace_core.store.connection import connect
from tokentrace_core.store.deletions import Deletions
from tokentrace_core.store.errand import Errand
from tokentrace_core.store.housekeeping import Housekeeping
from tokentrace_core.store.lease import Lease
from tokentrace_core.store.ledger import FileLedger
from tokentrace_core.store.losses import Losses
from tokentrace_core.store.retention import Retention
from tokentrace_core.store.rows import (
    INSERT_MESSAGE,
    INSERT_PROMPT,
    STATEMENTS,
    message_row,
    prompt_row,
    waiting_run,
)
from tokentrace_core.store.trace_file import Durability, TraceFile, is_damage
from tokentrace_core.store.waiting_line import Flush, WaitingLine

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

#: How long one batch is tried on a locked file, and the longest pause in between.
_LOCKED_PATIENCE_S = 120.0
_LOCKED_PAUSE_S = 0.5


class Writer:
    """Writes spans to one file. `losses` counts what could not be stored, by reason."""

    _thread: threading.Thread | None
    _housekeeping: Housekeeping | None

    def __init__(self, path: Path, durability: Durability = "normal") -> None:
        self.path = path
        self.durability: Durability = durability
        self.ledger = FileLedger(path, Lease(), self.put, self._opens)
        self._rules: Retention | None = None
        self.begin_afresh()

    @property
    def losses(self) -> dict[str, int]:
        return self._losses.by_reason()

    def put(self, span: object) -> None:
        """Hand over a span that began, changed or ended. Never blocks."""
        if not self._line.put(span):
            self._lose("queue full", [span])
            return
        if self._thread is None:
            self.start()

    def keep(self, rules: Retention) -> None:
        """Let go of what is older than this, from now on."""
        self._rules = rules
        self._housekeeping = Housekeeping(rules)
        self.put(_Nothing())

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was handed over is written. False if that took longer than `timeout` seconds."""
        if self._thread is None and not self._line:
            return True
        if self._thread is threading.current_thread():
            return False  # a receiver that the writer calls: it would wait for itself
        note = Flush()
        self._line.ask(note)
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
        if not self.ledger.rest(timeout):
            return False
        resting = self._busy.acquire(timeout=timeout)
        if resting:
            self._file.close()
        else:
            self.ledger.go_on()
        return resting

    def go_on(self) -> None:
        self._busy.release()
        self.ledger.go_on()

    def recall(self, session_id: str) -> Run | None:
        """The run of this session that waits for a human, as another process left it; None if there is none."""
        try:
            connection = connect(self.path, mode="ro", timeout=0.05)
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
        before = [getattr(self, "_file", None)]
        self._line = WaitingLine()
        self._in_hand: list[object] = []
        self._thread = None
        self._closing = False
        self._handover = threading.Lock()
        """Held while the thread begins or ends, and while what waits is counted."""
        self._busy = threading.Lock()
        """Held while a fork would leave the child half a transaction or half an import."""
        self._opened = threading.Event()
        self._lease = Lease()
        before.append(self.ledger.begin_afresh(self._lease))
        self._file = TraceFile(self.path, self._lease.take, self.durability)
        self._losses = Losses(self.path)
        self._deletions = Deletions()
        self._housekeeping = Housekeeping(self._rules) if self._rules else None
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
            self._in_hand, notes = self._line.take(self._idle_s())
            try:
                self._store(self._in_hand)
            except Exception:  # the thread must live, or a flush would wait for ever
                log.exception("tokentrace: a batch could not be written")
                self._lose("internal error", self._in_hand)
            for note in notes:
                note.done.set()
            self._keep_house()
            if self._closing and self._may_end():
                self._let_go()
                return

    def _idle_s(self) -> float | None:
        """How long there may be nothing to do."""
        due = [self._lease.due_in, self._housekeeping.due_in if self._housekeeping else None]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _keep_house(self) -> None:
        """One piece of retention, if it is time and nobody waits for an end."""
        work = self._housekeeping
        if work is None or work.due_in or self._closing:
            return
        try:
            failure = self._attempt(lambda database: work.do(database.conn), patience_s=0.0)
        except Exception:  # the thread must live
            log.exception("tokentrace: retention failed; it is tried again in an hour")
            failure = "internal error"
        if failure is not None:
            work.give_up()

    def _may_end(self) -> bool:
        """Be the thread no longer, unless something came. `put` puts and then looks for a thread: the other way round."""
        with self._handover:
            self._thread = None
            if not self._line:
                return True
            self._thread = threading.current_thread()
            return False

    def _let_go(self) -> None:
        """The last words, if the file will hear them at once."""
        if self._file.is_open:
            self._attempt(lambda database: self._lease.end(database.conn), patience_s=0.0)
        self.ledger.close()
        with self._busy:
            self._file.close()

    def _opens(self, timeout: float) -> bool:
        """Whether the file could be opened, by now or within the time."""
        if not self._opened.is_set():
            self.start()
        return self._opened.wait(timeout)

    def _store(self, spans: list[object]) -> None:
        unfit: list[object] = []
        refused: list[object] = []

        def write(database: Database) -> None:
            connection = database.conn
            self._deletions.look(connection, self._file)
            refused[:] = [span for span in spans if self._deletions.refuse(connection, span)]
            welcome = [span for span in spans if span not in refused] if refused else spans
            unfit[:] = [span for span in welcome if not self._write_span(connection, span)]
            self._lease.renew(connection)
            self._losses.write(connection, self._lease.id)

        failure = self._attempt(write)
        with self._handover:
            self._in_hand = []
            if failure is None:
                self._losses.uncount(spans)
        if failure is not None and spans:
            self._lose(failure, spans)
            return
        if unfit:
            self._lose("not encodable", unfit)
        if refused:
            self._lose("of a user who was purged", refused)
        for errand in spans:
            if isinstance(errand, Errand):
                errand.written()

    def _write_span(self, connection: sqlite3.Connection, span: object) -> bool:
        """False if nothing can be made of this one."""
        try:
            if isinstance(span, Errand):
                span.write(connection)
                return True
            statement = STATEMENTS[type(span)]
            if isinstance(span, LLMCall):
                self._write_texts(connection, span)
            connection.execute(statement.sql, statement.row(span))
            if isinstance(span, Run):
                self._lease.note(connection, span)
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
            self._deletions.note(connection, node.id)
            self._file.remember(node.id)

    def _write_message(self, connection: sqlite3.Connection, message: Payload) -> None:
        if not self._file.knows(message.id):
            connection.execute(INSERT_MESSAGE, message_row(message))
            self._deletions.note(connection, message.id)
            self._file.remember(message.id)

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    def _attempt(
        self, write: Callable[[Database], None], patience_s: float = _LOCKED_PATIENCE_S
    ) -> str | None:
        """Run one write transaction, again while the file is locked. Why it was given up; None if it is written."""
        patience = time.monotonic() + patience_s
        pause = 0.05
        while True:
            with self._busy:
                try:
                    database = self._file.open()
                    with database.atomic():
                        write(database)
                    self._trouble = None
                    self._opened.set()
                    return None
                except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
                    self._trouble = f"{type(error).__name__}: {error}"
                    self._file.forget()
                    self._deletions.forget()
                    if not self._may_be_over(error) or time.monotonic() > patience:
                        self._file.close()
                        return self._trouble
            time.sleep(pause)
            pause = min(pause * 2, _LOCKED_PAUSE_S)

    def _may_be_over(self, error: Exception) -> bool:
        """Whether it is worth trying again: a lock is let go of, and a damaged file has made room for a new one."""
        return _is_locked(error) or (is_damage(error) and self._file.move_aside(error))

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────────

    def _lose(self, reason: str, spans: list[object]) -> None:
        self._losses.count(reason, spans)
        self._losses.say(reason)

    def _count_what_waits(self) -> None:
        """The batch in hand and the line, which stay: the thread may still get to them."""
        with self._handover:
            waiting = [*self._in_hand, *self._line.waiting()]
            self._losses.count(self._trouble or "not written in time", waiting)


def _is_locked(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


class _Nothing(Errand):
    """Wakes the thread up."""

    __slots__ = ()

    def write(self, connection: sqlite3.Connection) -> None:
        pass
