"""The writer: one thread and one connection; in its process nobody else writes to the file.

Spans are handed over as they are, several times in their life (start, end); the row is made when its batch is
written, so it is always the latest state, and a span that began and ended within one batch is one write. The
agent's thread only puts a reference into a queue. Hashing, redacting and encoding happen here.

Trouble with the file never reaches the agent: a locked file is tried again, anything else costs the batch,
which is counted by reason and said in the log at most once a minute.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import LLMCall, Run, Session
from tokentrace_core.store.rows import (
    INSERT_MESSAGE,
    INSERT_PROMPT,
    STATEMENTS,
    message_row,
    prompt_row,
    waiting_run,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

log = logging.getLogger("tokentrace")

_BATCH = 500
_BATCH_S = 0.2
_QUEUE_LIMIT = 100_000
_KNOWN_IDS = 50_000
_LOCKED_RETRIES = 20
_SAY_EVERY_S = 60.0


class _Flush:
    """A note in the queue: everything before it is to be written."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Writer:
    """Writes spans to one file. `losses` counts what could not be stored, by reason."""

    _thread: threading.Thread | None

    def __init__(self, path: Path, *, warm: Callable[[], None] | None = None) -> None:
        self.path = path
        self.losses: Counter[str] = Counter()
        self._warm = warm
        self._said: dict[str, float] = {}
        self.begin_afresh()

    def put(self, span: object) -> None:
        """Hand over a span that began, changed or ended. Never blocks."""
        if self._queue.qsize() > _QUEUE_LIMIT and not isinstance(span, Run | Session):
            self._lose("queue full", 1)
            return
        self._ensure_thread()
        self._queue.put(span)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was handed over is written. False if that took longer than `timeout` seconds."""
        if self._thread is None:
            return True
        note = _Flush()
        self._queue.put(note)
        return note.done.wait(timeout)

    def close(self, timeout: float | None) -> bool:
        """Flush and end the thread."""
        if self._thread is None:
            return True
        self._closing = True
        done = self.flush(timeout)
        self._thread.join(timeout if done else 0.0)
        self._thread = None
        return done

    def rest(self, timeout: float) -> bool:
        """Let go of the file until `go_on`. False if a batch took longer than `timeout` seconds."""
        resting = self._busy.acquire(timeout=timeout)
        if resting:
            self._close_database()
        return resting

    def go_on(self) -> None:
        self._busy.release()

    def recall(self, session_id: str) -> Run | None:
        """The run of this session that waits for a human, as another process left it; None if there is none."""
        if not self.path.exists():
            return None
        connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, timeout=0.05)
        try:
            return waiting_run(connection, session_id)
        except sqlite3.Error:
            return None
        finally:
            connection.close()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────

    def begin_afresh(self) -> object:
        """Have a thread, a queue and a connection of one's own; gives back the connection that was there."""
        before = getattr(self, "_database", None)
        self._queue: SimpleQueue[object] = SimpleQueue()
        self._thread = None
        self._starting = threading.Lock()
        self._closing = False
        self._busy = threading.Lock()
        """Held while a fork would leave the child half a transaction or half an import."""
        self._database: Database | None = None
        self._known: OrderedDict[str, None] = OrderedDict()
        return before

    def _ensure_thread(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._closing = False
                    thread = threading.Thread(target=self._work, name="tokentrace-writer", daemon=True)
                    thread.start()
                    self._thread = thread

    def start(self) -> None:
        """Create the file and load what writing needs, before the first span comes."""
        self._ensure_thread()

    def _work(self) -> None:
        self._attempt(lambda _: None, 0)
        if self._warm is not None:
            try:
                with self._busy:
                    self._warm()
            except Exception:
                log.exception("tokentrace: the price tables could not be loaded")
        while True:
            spans, notes = self._next_batch()
            if spans:
                try:
                    self._store(spans)
                except Exception:  # the thread must live, or a flush would wait for ever
                    log.exception("tokentrace: a batch could not be written")
                    self._lose("internal error", len(spans))
            for note in notes:
                note.done.set()
            if self._closing and self._queue.empty():
                with self._busy:
                    self._close_database()
                return

    def _next_batch(self) -> tuple[list[object], list[_Flush]]:
        """What has come within the batch time; at once if someone waits for it or a run has begun."""
        spans: dict[int, object] = {}
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
        def write(database: Database) -> None:
            for span in spans:
                self._write_span(database.conn, span)

        if not self._attempt(write, len(spans)):
            self._known.clear()

    def _write_span(self, connection: sqlite3.Connection, span: object) -> None:
        try:
            statement = STATEMENTS[type(span)]
            if isinstance(span, LLMCall):
                self._write_texts(connection, span)
            connection.execute(statement.sql, statement.row(span))
        except sqlite3.Error:
            raise
        except Exception:
            self._lose("not encodable", 1)
            log.exception("tokentrace: a span could not be encoded")

    def _write_texts(self, connection: sqlite3.Connection, call: LLMCall) -> None:
        for payload in (call.tools, call.output):
            if payload is not None:
                self._write_message(connection, payload)
        prompt = call.prompt
        new: list[Prompt] = []
        while prompt is not None and prompt.id not in self._known:
            new.append(prompt)
            prompt = prompt.parent
        for node in reversed(new):
            self._write_message(connection, node.message)
            connection.execute(INSERT_PROMPT, prompt_row(node))
            self._remember(node.id)

    def _write_message(self, connection: sqlite3.Connection, message: Payload) -> None:
        if message.id not in self._known:
            connection.execute(INSERT_MESSAGE, message_row(message))
            self._remember(message.id)

    def _remember(self, content: str) -> None:
        self._known[content] = None
        if len(self._known) > _KNOWN_IDS:
            self._known.popitem(last=False)

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    def _attempt(self, write: Callable[[Database], None], spans: int) -> bool:
        """Run one write transaction, again if the file is locked. False if the batch is lost."""
        for attempt in range(_LOCKED_RETRIES):
            try:
                with self._busy:
                    database = self._open()
                    with database.atomic():
                        write(database)
                return True
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    return self._give_up(error, spans)
                time.sleep(min(0.05 * 2**attempt, 1.0))
            except (sqlite3.Error, OSError, ValueError) as error:
                return self._give_up(error, spans)
        return self._give_up(sqlite3.OperationalError("database is locked"), spans)

    def _give_up(self, error: Exception, spans: int) -> bool:
        self._lose(f"{type(error).__name__}: {error}", spans)
        self._close_database()
        return False

    def _open(self) -> Database:
        if self._database is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch(mode=0o600)
            self._database = _prepared(self.path)
        return self._database

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error:
                log.debug("tokentrace: the file did not close cleanly", exc_info=True)

    def _lose(self, reason: str, spans: int) -> None:
        if spans:
            self.losses[reason] += spans
        now = time.monotonic()
        if now - self._said.get(reason, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said[reason] = now
            log.warning(
                "tokentrace: %d records lost so far (%s) for %s; the agent goes on",
                self.losses[reason],
                reason,
                self.path,
            )


def _prepared(path: Path) -> Database:
    """The file, with our tables in it."""
    # Imported on the writer's thread: sqlite-utils is most of what `import tokentrace_core` would cost.
    from sqlite_utils import Database

    from tokentrace_core.store import schema

    connection = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    database = Database(connection)
    if newer := schema.unknown_migrations(database):
        connection.close()
        raise ValueError(f"{path} is of a newer tokentrace (it has {newer[-1]}); upgrade this one")
    schema.migrations.apply(database)
    return database
