"""Which rows leave a file and come into another: the trace, and what is left of a trace that has gone.

A row travels as one line of JSON, its table's name and its columns; what is NULL is left out. What a file knows of itself
(who writes to it, its ledger, its keys, who was purged) stays: it would say nothing true elsewhere. A synopsis is made
anew from the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

#: Tables in the order in which they travel, with their keys.
TABLES: dict[str, tuple[str, ...]] = {
    "sessions": ("id",),
    "runs": ("id",),
    "run_parts": ("run_id", "id"),
    "steps": ("run_id", "id"),
    "messages": ("id",),
    "prompts": ("id",),
    "llm_calls": ("run_id", "id"),
    "tool_calls": ("run_id", "id"),
    "scores": ("run_id", "id"),
    "repricings": ("id",),
    "repriced_calls": ("repricing_id", "run_id", "id"),
    "daily_costs": (
        "day", "project", "environment", "framework", "task_type", "provider", "model", "status", "run_status",
    ),
}  # fmt: skip

_STAY = {"runs": {"writer_id", "synopsis"}, "run_parts": {"writer_id"}}

Row = Mapping[str, Any]


def columns_of(table: str, known: Iterable[str]) -> list[str]:
    """Those of a table's columns that travel."""
    return [name for name in known if name not in _STAY.get(table, ())]


def line_of(table: str, row: Row) -> str:
    """A row as a line, without its end."""
    told = {name: value for name, value in row.items() if value is not None}
    return json.dumps({"table": table, **told}, separators=(",", ":"))
