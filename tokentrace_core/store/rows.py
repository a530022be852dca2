"""From a span to its row: the table's columns, each read off the field of the same name.

Only here do payloads become text, so what reaches the file is what the redactor let through.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tokentrace_core.filler import filler_length, text_of
from tokentrace_core.payload import Payload, canonical_json
from tokentrace_core.prompts import Prompt
from tokentrace_core.snapshot import snapshot
from tokentrace_core.spans import LLMCall, Run, RunPart, Score, Session, Step, ToolCall

#: The widest integer SQLite stores.
_WIDEST = 2**63 - 1


Convert = Callable[[Any], Any]

#: Fields whose column has another name, and what is in it.
_RENAMED: dict[str, tuple[str, Convert]] = {
    "prompt": ("prompt_id", lambda prompt: prompt and prompt.id),
    "tools": ("tools_id", lambda tools: tools and tools.id),
}
_OUTPUT_OF_CALL: tuple[str, Convert] = ("output_id", lambda output: output and output.id)
_ARGUMENTS: tuple[str, Convert] = ("arguments", lambda arguments: arguments and arguments.json)
#: What else there is to say of a field: a second column.
_SECOND: dict[str, tuple[str, Convert]] = {
    "arguments": ("arguments_hash", lambda arguments: arguments and arguments.id),
    "result": ("result_bytes", lambda result: result and result.size),
}
#: And of a model's answer, which a run has, too, without being one.
_SECOND_OF_CALL: dict[str, tuple[str, Convert]] = {
    "output": ("filler_ppm", lambda output: output and filler_ppm(output))
}
#: A run resumed in another process does not know the texts that the file has: they stay.
_KEPT = frozenset({"input", "output", "reasoning"})


class Statement(NamedTuple):
    """How one kind of span is written: insert, or bring the row up to date."""

    columns: tuple[str, ...]
    sql: str
    row: Callable[[Any], tuple[Any, ...]]


def _statement(kind: type[Any]) -> Statement:
    fields = kind.__struct_fields__
    own = {name: _column(kind, name) for name in fields}
    more = _SECOND | (_SECOND_OF_CALL if kind is LLMCall else {})
    second = [(fields.index(name), *more[name]) for name in fields if name in more]
    columns = (*(name for name, _ in own.values()), *(name for _, name, _ in second))
    converts = [(place, convert) for place, (_, convert) in enumerate(own.values()) if convert]
    # A run is its own trace: its id says it.
    dropped = fields.index("run_id") if kind is Run else None

    def row(span: Any) -> tuple[Any, ...]:
        raw = msgspec.structs.astuple(span)
        values = list(raw)
        for place, convert in converts:
            values[place] = convert(raw[place])
        values += [convert(raw[place]) for place, _, convert in second]
        if dropped is not None:
            del values[dropped]
        return tuple([value if value is None else _plain(value) for value in values])

    if dropped is not None:
        columns = columns[:dropped] + columns[dropped + 1 :]
    return Statement(columns, _upsert(kind.table, columns), row)


def _column(kind: type[Any], field: str) -> tuple[str, Convert | None]:
    """The name of a field's column, and what becomes of its value, if that is not `_plain`."""
    if field == "output" and kind is LLMCall:
        return _OUTPUT_OF_CALL
    if field == "arguments":
        return _ARGUMENTS
    return _RENAMED.get(field) or (field, None)


def _upsert(table: str, columns: tuple[str, ...]) -> str:
    key = ("run_id", "id") if "run_id" in columns else ("id",)
    updates = ", ".join(
        f"{name} = coalesce(excluded.{name}, {name})" if name in _KEPT else f"{name} = excluded.{name}"
        for name in columns
        if name not in key
    )
    return (
        f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
        f" on conflict ({', '.join(key)}) do update set {updates}"
    )


def _plain(value: Any) -> Any:
    """A value as SQLite takes it."""
    kind = type(value)
    if kind is str and value.isascii():
        return value
    if kind is int and -_WIDEST <= value <= _WIDEST:
        return value
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, str):
        return snapshot(value)  # SQLite refuses lone surrogates
    if isinstance(value, int):
        return max(-_WIDEST, min(int(value), _WIDEST))
    if isinstance(value, Payload):
        return value.text
    return canonical_json(value) if value else None


STATEMENTS: dict[type, Statement] = {
    kind: _statement(kind) for kind in (Session, Run, RunPart, Step, LLMCall, ToolCall, Score)
}

#: One whose body had gone for its age comes back when it is sent again.
#: What `message_row` and `prompt_row` give.
MESSAGE_COLUMNS = ("id", "role", "body", "bytes")
PROMPT_COLUMNS = ("id", "parent_id", "message_id", "depth", "role", "bytes")
INSERT_MESSAGE = (
    "insert into messages (id, role, body, bytes) values (?, ?, ?, ?)"
    " on conflict do update set body = excluded.body, expired = null where expired is not null"
)
INSERT_PROMPT = (
    "insert or ignore into prompts (id, parent_id, message_id, depth, role, bytes) values (?, ?, ?, ?, ?, ?)"
)


def message_row(message: Payload) -> tuple[Any, ...]:
    return message.id, _role(message), message.json, message.size


def _role(message: Payload) -> Any:
    value = message.value
    return _plain(value.get("role")) if isinstance(value, dict) else "tools"


def filler_ppm(output: Payload) -> int:
    """Millionths of a model's message, by size, that are filler before the answer."""
    filler = filler_length(text_of(output.value))
    return filler * 1_000_000 // max(output.size, filler, 1)


def prompt_row(prompt: Prompt) -> tuple[Any, ...]:
    parent, message = prompt.parent, prompt.message
    return prompt.id, parent.id if parent else None, message.id, prompt.depth, _role(message), message.size


def waiting_run(connection: sqlite3.Connection, session_id: str) -> Run | None:
    """The latest run of a session, as a span again, if it waits. Its texts stay as they are in the file."""
    names = [name for name in STATEMENTS[Run].columns if name not in _TEXTS_OF_RUN]
    row = connection.execute(
        f"select {', '.join(names)} from runs where session_id = ? order by started_at desc limit 1",
        [session_id],
    ).fetchone()
    if row is None:
        return None
    facts = dict(zip(names, row, strict=True))
    if facts["status"] != "waiting":
        return None
    decoded = {name: msgspec.json.decode(facts.pop(name) or default) for name, default in _JSON_OF_RUN}
    return Run(run_id=facts["id"], **facts, **decoded)


_TEXTS_OF_RUN = frozenset({"input", "output", "error"})
_JSON_OF_RUN = (("tags", "[]"), ("attributes", "{}"))
