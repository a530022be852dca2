"""From a span to its row: the table's columns, each read off the field of the same name.

Only here do payloads become text, so what reaches the file is what the redactor let through.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from tokentrace_core.payload import Payload, canonical_json
from tokentrace_core.prompts import Prompt
from tokentrace_core.snapshot import snapshot
from tokentrace_core.spans import LLMCall, Run, Score, Session, Step, ToolCall

#: The widest integer SQLite stores.
_WIDEST = 2**63 - 1


Getter = Callable[[Any], Any]

#: Fields that are not a column of their own name and value: what they become.
_COLUMNS_OF_FIELD: dict[str, dict[str, Getter]] = {
    "prompt": {"prompt_id": lambda call: call.prompt.id if call.prompt else None},
    "tools": {"tools_id": lambda call: call.tools.id if call.tools else None},
    "arguments": {
        "arguments": lambda call: call.arguments.json if call.arguments else None,
        "arguments_hash": lambda call: call.arguments.id if call.arguments else None,
    },
    "result": {
        "result": lambda call: call.result.text if call.result else None,
        "result_bytes": lambda call: call.result.size if call.result else None,
    },
}
_OUTPUT_OF_CALL: dict[str, Getter] = {
    "output_id": lambda call: call.output.id if call.output else None,
}
#: A run resumed in another process does not know the texts that the file has: they stay.
_KEPT = frozenset({"input", "output", "reasoning"})


class Statement(NamedTuple):
    """How one kind of span is written: insert, or bring the row up to date."""

    columns: tuple[str, ...]
    sql: str
    row: Callable[[Any], tuple[Any, ...]]


def _statement(kind: type[Any]) -> Statement:
    getters = _getters(kind)
    key = ("run_id", "id") if "run_id" in getters else ("id",)
    updates = ", ".join(
        f"{name} = coalesce(excluded.{name}, {name})" if name in _KEPT else f"{name} = excluded.{name}"
        for name in getters
        if name not in key
    )
    sql = (
        f"insert into {kind.table} ({', '.join(getters)}) values ({', '.join('?' * len(getters))})"
        f" on conflict ({', '.join(key)}) do update set {updates}"
    )
    read = list(getters.values())
    return Statement(tuple(getters), sql, lambda span: tuple(_plain(get(span)) for get in read))


def _getters(kind: type[Any]) -> dict[str, Getter]:
    """The columns of a kind of span, and how each is read."""
    getters: dict[str, Getter] = {}
    for name in kind.__struct_fields__:
        if name == "output" and kind is LLMCall:
            getters |= _OUTPUT_OF_CALL
        else:
            getters |= _COLUMNS_OF_FIELD.get(name) or {name: _field(name)}
    if kind is Run:
        del getters["run_id"]  # a run is its own trace: its id says it
    return getters


def _field(name: str) -> Callable[[Any], Any]:
    def get(span: Any) -> Any:
        return getattr(span, name)

    return get


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, str):
        return value if value.isascii() else snapshot(value)  # SQLite refuses lone surrogates
    if isinstance(value, int):
        return max(-_WIDEST, min(int(value), _WIDEST))
    if isinstance(value, Payload):
        return value.text
    return canonical_json(value) if value else None


STATEMENTS: dict[type, Statement] = {
    kind: _statement(kind) for kind in (Session, Run, Step, LLMCall, ToolCall, Score)
}

INSERT_MESSAGE = "insert or ignore into messages (id, role, body, bytes) values (?, ?, ?, ?)"
INSERT_PROMPT = "insert or ignore into prompts (id, parent_id, message_id, depth) values (?, ?, ?, ?)"


def message_row(message: Payload) -> tuple[Any, ...]:
    value = message.value
    role = value.get("role") if isinstance(value, dict) else "tools"
    return message.id, _plain(role), message.json, message.size


def prompt_row(prompt: Prompt) -> tuple[Any, ...]:
    return prompt.id, prompt.parent.id if prompt.parent else None, prompt.message.id, prompt.depth


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
