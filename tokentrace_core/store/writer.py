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

from tokentrace_core.joined_runs import SoFar
from tokentrace_core.shield import warn_once
from tokentrace_core.spans import Run, RunPart
from tokentrace_core.store import process_end
from tokentrace_core.store.batch import Batch
from tokentrace_core.store.deletions import Deletions
from tokentrace_core.store.errand import Errand
from tokentrace_core.store.glance import glance
from tokentrace_core.store.housekeeping import Housekeeping
from tokentrace_core.store.lease import Lease
from tokentrace_core.store.ledger import FileLedger
from tokentrace_core.store.losses import Losses, whole
from tokentrace_core.store.parts import run_so_far
from tokentrace_core.store.retention import Retention
from tokentrace_core.store.rows import waiting_run
from tokentrace_core.store.trace_file import Durability, TraceFile, beside, is_damage, is_locked, transaction
from tokentrace_core.store.waiting_line import Flush, WaitingLine

log = logging.getLogger("tokentrace")

#: How long one batch is tried on a locked file, and the longest pause in between.
_LOCKED_PATIENCE_S = 120.0
_LOCKED_PAUSE_S = 0.5
#: Runs whose last state could not be written, and is tried again with every batch.
_OWED_RUNS = 1_000
#: How often that is tried when nothing else comes.
_RETRY_S = 1.0


class Writer:
    """Writes spans to one file. `losses` counts what could not be stored, by reason."""

    _thread: threading.Thread | None
    _housekeeping: Housekeeping | None

    def __init__(self, path: Path, durability: Durability = "normal") -> None:
        self.path = path
        self.durability: Durability = durability
        self.ledger = FileLedger(path, self.put, self._opens)
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
            if process_end.is_over():
                self._line.ask(Flush())
                self._write_here()
            else:
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
        if self._thread is None:  # none can be had: the interpreter is about to end
            return self._write_here()
        return note.done.wait(timeout)

    def close(self, timeout: float | None) -> bool:
        """Flush and end the thread. What is not written by then counts as lost, unless the thread still makes it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        thread = self._thread
        self._closing = True
        done = self.flush(timeout)
        if not done:
            self._count_what_waits()
        elif thread is not None:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        self._losses.say_rest()
        return done

    def rest(self, timeout: float) -> bool:
        """Let go of the file until `go_on`. False if a batch took longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        if not self._busy.acquire(timeout=timeout):
            return False
        if not self._recalling.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            self._busy.release()
            return False
        self._file.close()
        self.ledger.close()
        return True

    def go_on(self) -> None:
        self._recalling.release()
        self._busy.release()

    def recall(self, session_id: str) -> Run | None:
        """The run of this session that waits for a human, as another process left it; None if there is none."""
        with self._recalling:
            return glance(self.path, lambda connection: waiting_run(connection, session_id))

    def look_up(self, run_id: str) -> SoFar | None:
        """What the file says of a run that another process began; None if that process does not write to it."""
        with self._recalling:
            return glance(self.path, lambda connection: run_so_far(connection, run_id))

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
        self._recalling = threading.Lock()
        """Held while another thread is in SQLite: a fork would leave the child its mutexes, locked."""
        self._lease = Lease()
        before.append(self.ledger.begin_afresh(self._lease, self._busy))
        self._file = TraceFile(self.path, self._introduce, self.durability)
        self._losses = Losses(self.path)
        self._owed: dict[object, object] = {}
        """Runs that are not in the file as they were last, and errands: so few that they can be tried again."""
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
                    try:
                        thread.start()
                    except RuntimeError:  # no more threads; the next span tries again
                        log.debug("tokentrace: no thread to write with", exc_info=True)
                    else:
                        self._thread = thread

    def _work(self) -> None:
        self._store([])
        while True:
            self._in_hand, notes = self._line.take(self._due_in())
            self._store(self._in_hand)
            for note in notes:
                note.done.set()
            self._keep_house()
            if self._closing and self._may_end():
                self._let_go()
                return

    def _due_in(self) -> float | None:
        """Seconds until there is something to do, even if nothing comes."""
        heard = self._lease.due_in if self._losses.are_written and not self._owed else _RETRY_S
        due = [heard, self._housekeeping.due_in if self._housekeeping else None]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def _write_here(self) -> bool:
        """Write what waits on the calling thread: the interpreter is about to end, and gives us no other."""
        while self._line:
            spans, notes = self._line.take(0.0)
            self._store(spans, patience_s=0.0)
            for note in notes:
                note.done.set()
        return True

    def _introduce(self, connection: sqlite3.Connection) -> None:
        """The first words to a file, which may be another one than before."""
        self._losses.forget()
        self._deletions.forget()
        self._lease.take(connection)
        if beside(self.path, ".purging").exists():
            warn_once(f"a purge of {self.path} was begun and not ended: run tokentrace purge --yes")

    def _keep_house(self) -> None:
        """One piece of retention, if it is time and nobody waits for an end."""
        if self._housekeeping is not None and not self._closing:
            self._housekeeping.go_on(lambda piece: self._attempt(piece, patience_s=0.0))

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

        def write(connection: sqlite3.Connection) -> None:
            self._losses.write(connection, self._lease.id)
            self._lease.end(connection)

        if self._file.is_open or self._owed or not self._losses.are_written:
            if self._owed:
                self._store([], patience_s=0.0)
            self._attempt(write, patience_s=0.0)
        with self._busy:
            self.ledger.close()
            self._file.close()

    def _opens(self, timeout: float) -> bool:
        """Whether the file could be opened, by now or within the time."""
        if not self._opened.is_set():
            self.start()
        return self._opened.wait(timeout)

    def _store(self, spans: list[object], patience_s: float | None = None) -> None:
        """Write a batch, or count it as lost. Never fails: the thread must live, or a flush would wait for ever."""
        batch = Batch([*self._owed.values(), *spans], self._file, self._lease, self._deletions)
        ended = whole(batch.spans)

        def write(connection: sqlite3.Connection) -> None:
            batch.write(connection)
            self._lease.renew(connection)
            self._losses.write(connection, self._lease.id)

        try:
            failure = self._attempt(write, patience_s)
        except Exception:
            log.exception("tokentrace: a batch could not be written")
            failure = "internal error"
        with self._handover:
            self._in_hand = []
            if failure is None:
                self._losses.uncount(batch.spans, batch.without_turned_away(ended))
                self._owed.clear()
            else:
                self._owe(spans)
        if failure is not None:
            if spans:
                self._lose(failure, spans)
            return
        for reason, turned_away in batch.turned_away.items():
            if turned_away:
                self._lose(reason, turned_away)
        for errand in batch.spans:
            if isinstance(errand, Errand):
                errand.written()

    def _owe(self, spans: list[object]) -> None:
        for span in spans:
            if isinstance(span, (Run, RunPart, Errand)):
                self._owed[id(span) if isinstance(span, Errand) else span.id] = span
        while len(self._owed) > _OWED_RUNS:
            del self._owed[next(iter(self._owed))]

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    def _attempt(
        self, write: Callable[[sqlite3.Connection], None], patience_s: float | None = None
    ) -> str | None:
        """Run one write transaction, again while the file is locked. Why it was given up; None if it is written."""
        patience = time.monotonic() + (_LOCKED_PATIENCE_S if patience_s is None else patience_s)
        pause = 0.05
        while True:
            with self._busy:
                try:
                    connection = self._file.open().conn
                    with transaction(connection):
                        write(connection)
                    if self._file.was_replaced():  # and we have just written to a file that nobody can find
                        continue
                    self._trouble = None
                    self._opened.set()
                    return None
                except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
                    self._trouble = f"{type(error).__name__}: {error}"
                    for part in (self._file, self._lease, self._losses, self._deletions):
                        part.forget()
                    if not self._may_be_over(error) or time.monotonic() > patience:
                        self._file.close()
                        return self._trouble
            time.sleep(pause)
            pause = min(pause * 2, _LOCKED_PAUSE_S)

    def _may_be_over(self, error: Exception) -> bool:
        """Whether it is worth trying again: a lock is let go of, and a damaged file has made room for a new one."""
        return is_locked(error) or (is_damage(error) and self._file.move_aside(error))

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────────

    def _lose(self, reason: str, spans: list[object]) -> None:
        self._losses.count(reason, spans)
        self._losses.say(reason)

    def _count_what_waits(self) -> None:
        """The batch in hand and the line, which stay: the thread may still get to them."""
        with self._handover:
            waiting = [*self._in_hand, *self._line.waiting()]
            self._losses.count(self._trouble or "not written in time", waiting)


class _Nothing(Errand):
    """Wakes the thread up."""

    __slots__ = ()

    def write(self, connection: sqlite3.Connection) -> None:
        pass
