"""The writer against SQLite's own `executemany`: the same rows in the same tables, in batches of 100 spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.samples import Place
from tests.benchmarks.samples.timing import cpu
from tests.benchmarks.texts import PAGE
from tokentrace_core import Budget, Redactor, signals
from tokentrace_core.ids import new_run_id, new_span_id
from tokentrace_core.payload import Payload
from tokentrace_core.recorder import Recorder
from tokentrace_core.spans import LLMCall, ToolCall
from tokentrace_core.store.rows import PROMPT_COLUMNS, STATEMENTS, message_row, prompt_row
from tokentrace_core.store.trace_file import TraceFile
from tokentrace_core.store.writer import Writer
from tokentrace_langchain import TokentraceHandler

BATCH = 100
Row = tuple[str, tuple[Any, ...]]


def measure(place: Place, runs: int, calls: int) -> dict[str, Any]:
    """CPU seconds of each way of writing, by what is written; the spans are new to each of them but the last."""
    figures = {}
    for name, spans in (("runs", _spans_of_runs(runs)), ("tools", _tool_calls(calls))):
        batches = [spans[at : at + BATCH] for at in range(0, len(spans), BATCH)]
        writer = place.folder / f"{name}-writer.db"
        with_texts = cpu(_write(writer, batches)).process
        rows = [_rows(batch) for batch in batches]
        figures[name] = {
            "spans": len(spans),
            "rows": sum(map(len, rows)),
            "raw": cpu(_write_raw(place.folder / f"{name}-raw.db", rows)).process,
            "texts ready": cpu(_write(place.folder / f"{name}-ready.db", batches)).process,
            "texts to redact": with_texts,
        }
    return figures


def _write(path: Path, batches: Sequence[Sequence[object]]) -> Callable[[], None]:
    """As a tracer hands over, waiting for each batch."""
    writer = Writer(path)
    writer.flush()
    writer.start()
    writer.flush()

    def write() -> None:
        for batch in batches:
            for span in batch:
                writer.put(span)
            writer.flush()

    return write


def _write_raw(path: Path, batches: Sequence[Sequence[Row]]) -> Callable[[], None]:
    connection = TraceFile(path).open().conn
    prepared = [_by_statement(batch) for batch in batches]

    def write() -> None:
        for batch in prepared:
            connection.execute("begin immediate")
            for sql, rows in batch.items():
                connection.executemany(sql, rows)
            connection.execute("commit")

    return write


def _by_statement(rows: Iterable[Row]) -> dict[str, list[tuple[Any, ...]]]:
    statements: dict[str, list[tuple[Any, ...]]] = {}
    for sql, row in rows:
        statements.setdefault(sql, []).append(row)
    return statements


_written: set[str] = set()


def _rows(spans: Iterable[Any]) -> list[Row]:
    """Every row that the writer makes of these spans."""
    rows: list[Row] = []
    for span in spans:
        if isinstance(span, LLMCall):
            rows += _rows_of_texts(span)
        statement = STATEMENTS[type(span)]
        rows.append((_insert(span.table, statement.columns), statement.row(span)))
    return rows


def _rows_of_texts(call: LLMCall) -> list[Row]:
    nodes = list(reversed(call.prompt.path())) if call.prompt else []
    messages = [*(node.message for node in nodes), *(text for text in (call.output, call.tools) if text)]
    rows = [(_insert("messages", ("id", "role", "body", "bytes")), message_row(text)) for text in messages]
    rows += [(_insert("prompts", PROMPT_COLUMNS), prompt_row(node)) for node in nodes]
    new = [(sql, row) for sql, row in dict.fromkeys(rows) if row[0] not in _written]
    _written.update(row[0] for _, row in new)
    return new


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"


def _spans_of_runs(runs: int) -> list[object]:
    """All spans of some agent runs, each once and complete."""
    recorder, spans = Recorder(budget=Budget(run_usd=100)), dict[int, object]()

    def keep(_: object, **fact: object) -> None:
        spans.update((id(span), span) for span in fact.values())

    for signal in signals.CARRIES:
        signal.connect(keep, sender=recorder)
    tracer: Any = SimpleNamespace(recorder=recorder)
    handler, work = TokentraceHandler(tracer), workload.agent(10)
    for _ in range(runs):
        work([handler])
    return list(spans.values())


def _tool_calls(count: int) -> list[object]:
    redactor, run_id = Redactor(), new_run_id()
    text = PAGE[:1_000]
    return [
        ToolCall(
            id=new_span_id(),
            run_id=run_id,
            step_id=run_id[:16],
            name="read_page",
            started_at=time.time_ns() // 1_000,
            ended_at=time.time_ns() // 1_000,
            status="success",
            arguments=Payload({"number": number}, redactor),
            result=Payload(f"{number} {text}", redactor),
        )
        for number in range(count)
    ]
