"""From one batch of spans to rows, inside the writer's transaction.

Each span is one row, written as it is by now. A call brings the texts that it leads to, unless the file is known to
have them. What belongs to a user who was purged is not written; what cannot be encoded costs that span only.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import LLMCall, Run
from tokentrace_core.store import summary
from tokentrace_core.store.deletions import Deletions
from tokentrace_core.store.errand import Errand
from tokentrace_core.store.lease import Lease
from tokentrace_core.store.parts import take_in
from tokentrace_core.store.rows import INSERT_MESSAGE, INSERT_PROMPT, STATEMENTS, message_row, prompt_row
from tokentrace_core.store.trace_file import TraceFile, is_damage

log = logging.getLogger("tokentrace")

#: Why a span that came is not in the file, although the batch is.
UNFIT, PURGED = "not encodable", "of a user who was purged"


class Batch:
    """Spans on their way into one file. `turned_away`: what of them is not in it, and why."""

    def __init__(self, spans: Sequence[object], file: TraceFile, lease: Lease, deletions: Deletions) -> None:
        self.spans = spans
        self.turned_away: dict[str, list[object]] = {}
        self._file = file
        self._lease = lease
        self._deletions = deletions

    def write(self, connection: sqlite3.Connection) -> None:
        """May be done again, if the transaction is."""
        self._deletions.look(connection, self._file)
        self.turned_away = {UNFIT: [], PURGED: []}
        for span in self.spans:
            if self._deletions.refuse(connection, span):
                self.turned_away[PURGED].append(span)
            elif not self._write_span(connection, span):
                self.turned_away[UNFIT].append(span)
        stored = self.without_turned_away(self.spans)
        take_in(connection, stored, self._lease)
        summary.renew(connection, {run_id for span in stored if (run_id := getattr(span, "run_id", None))})

    def without_turned_away(self, spans: Sequence[object]) -> list[object]:
        """Those of these that are in the file."""
        out = {id(span) for some in self.turned_away.values() for span in some}
        return [span for span in spans if id(span) not in out] if out else list(spans)

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
        except (sqlite3.OperationalError, sqlite3.InternalError):
            raise
        except Exception as error:
            if is_damage(error):
                raise
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
