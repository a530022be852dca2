"""A tracer's spans as lines in a text file, where no database can be: `Tracer("traces.jsonl")`.

A line is a row (`travelling`), redacted by the same choke point; `tokentrace import` makes a trace file of the lines.
A step or a call is written when it has ended, a run when it begins and when it ends, a text when it is first sent. Any
number of processes may append to one file. What several processes have to agree on (shared limits) needs a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tokentrace_core.budget import Budget
from tokentrace_core.joined_runs import SoFar
from tokentrace_core.line_file import LineFile
from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import LLMCall, Run, RunPart, Step, ToolCall
from tokentrace_core.store.errand import Errand
from tokentrace_core.store.retention import Retention
from tokentrace_core.store.rows import MESSAGE_COLUMNS, PROMPT_COLUMNS, STATEMENTS, message_row, prompt_row
from tokentrace_core.store.trace_file import Durability
from tokentrace_core.store.travelling import line_of
from tokentrace_core.store.writer import Writer

SUFFIX = ".jsonl"


def is_for_lines(path: Path) -> bool:
    """Whether this is to be a file of lines, and no database."""
    return path.suffix.lower() == SUFFIX


def check_fits(path: Path, budget: Budget | None, *others: str | None) -> None:
    """Raise ValueError for what only a database can do. `others`: arguments that ask for one, by their names."""
    shared = budget is not None and (budget.is_shared or budget.near_last_month is not None)
    asked = [name for name in ("a limit that runs share" if shared else None, *others) if name]
    if asked and is_for_lines(path):
        raise ValueError(
            f"{asked[0]} needs a database, and {path} is none: name it .db, like {path.with_suffix('.db')}"
        )


class JsonlWriter(Writer):
    """The same thread and the same line of waiting spans, with another end."""

    def __init__(self, path: Path, durability: Durability = "normal") -> None:
        self._lines = LineFile(path)
        super().__init__(path, durability)

    def put(self, span: object) -> None:
        """Steps and calls that end. One that begins would be written as far as it has come by then."""
        if not (isinstance(span, (Step, LLMCall, ToolCall)) and span.ended_at is None):
            super().put(span)

    def keep(self, rules: Retention) -> None:
        """Raises ValueError: lines are not changed any more."""
        raise ValueError("retention needs a database: Tracer('traces.db', retention=...)")

    def recall(self, session_id: str) -> Run | None:
        """Nobody looks a run up in lines."""
        return None

    def look_up(self, run_id: str) -> SoFar | None:
        """Nor what it has spent."""
        return None

    def rest(self, timeout: float) -> bool:
        done = super().rest(timeout)
        if done:
            self._lines.close()
        return done

    def _store(self, spans: list[object], patience_s: float | None = None) -> None:
        with self._busy:
            for span in spans:
                try:
                    for line in self._lines_of(span):
                        self._lines.append(line)
                    self._losses.uncount([span])
                except OSError as error:
                    self._file.forget()
                    self._lose(f"{type(error).__name__}: {error.strerror or error}", [span])
                except Exception:
                    self._lose("not encodable", [span])
            self._opened.set()
        with self._handover:
            self._in_hand = []

    def _let_go(self) -> None:
        with self._busy:
            self._lines.close()

    def _lines_of(self, span: object) -> Iterator[str]:
        if isinstance(span, Errand):
            return
        if isinstance(span, (Run, RunPart)) and span.status == "running":
            if self._file.knows(span.id):
                return
            self._file.remember(span.id)
        if isinstance(span, LLMCall):
            yield from self._texts_of(span)
        statement = STATEMENTS[type(span)]
        table = type(span).table  # type: ignore[attr-defined]
        line = line_of(table, dict(zip(statement.columns, statement.row(span), strict=True)))
        # Its start may still be in the line when it has ended: then it is here twice, and both say the same.
        if not self._file.knows(same := f"{hash(line)} {len(line)}"):
            yield line
            self._file.remember(same)

    def _texts_of(self, call: LLMCall) -> Iterator[str]:
        for payload in (call.tools, call.output):
            if payload is not None:
                yield from self._message(payload)
        new: list[Prompt] = []
        prompt = call.prompt
        while prompt is not None and not self._file.knows(prompt.id):
            new.append(prompt)
            prompt = prompt.parent
        for node in reversed(new):
            yield from self._message(node.message)
            yield line_of("prompts", dict(zip(PROMPT_COLUMNS, prompt_row(node), strict=True)))
            self._file.remember(node.id)

    def _message(self, message: Payload) -> Iterator[str]:
        if not self._file.knows(message.id):
            yield line_of("messages", dict(zip(MESSAGE_COLUMNS, message_row(message), strict=True)))
            self._file.remember(message.id)
