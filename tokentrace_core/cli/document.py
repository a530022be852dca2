"""The tree as a JSON document: stable keys, for `--json` and for whoever serves it over HTTP.

Every node has `type` (run, step, llm_call, tool_call), the columns of its table under their names,
`duration_ms`, and `children`. Besides:

- times are ISO 8601, UTC; what has not ended has `ended_at` null;
- money is twice there, exact: `cost_usd` as a decimal string and `cost_nano_usd` as an integer. On a call both
  are its own, null if unknown (`cost_status` says why); on a run and a step they sum up everything below;
- a run and a step sum up `input_tokens` (the whole prompts), `cached_tokens` (the part read from the cache),
  `output_tokens`, `llm_calls`, and say how sure the cost is: `unpriced_calls` are left out of it,
  `estimated_calls` and `estimated_usd` are in it.

The commands wrap it: `show` prints the run (with `--messages` also `messages`, one entry per model call: `call_id`,
`model`, `new`, `repeated`, `answer`); `runs` prints `{"runs": [...], "losses": [{reason, records, at}]}`; `cost` `{"by", "since", "until", "where", "rows", "total"}`;
its questions `{"question", "since", "until", "where", ...}`; `metrics` `{"by", "since", "until", "where", "metrics" or "groups"}`;
`prices MODEL` `{"model", "provider", "price_version", "context_window", "per_million_usd", "tiers"}`, `prices`
`{"unpriced": [...]}`; `doctor` `{"ok", "checks"}`; `audit` `{"cost_usd", "avoidable", "findings": [{kind, title, wasted_tokens, wasted_nano_usd, calls, sql, fix, …}],
"queries"}`, with `--weekly` also `{"week_before", "changes"}`; `tail` one line per event: `event`, `at`, `run_id`, `run_name`
and the span.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tokentrace_core.cli.figures import exact_usd, iso
from tokentrace_core.cli.nodes import LLMNode, Node, Spent, ToolNode
from tokentrace_core.cli.tree import walk
from tokentrace_core.store.reader import Row

Document = dict[str, Any]

_RUN_COLUMNS = (
    "id",
    "name",
    "status",
    "session_id",
    "user_id",
    "project",
    "framework",
    "steps",
    "llm_calls",
    "tool_calls",
    "refused_calls",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "unpriced_calls",
    "estimated_calls",
    "error_type",
    "error",
)


def tree_document(root: Node) -> Document:
    """The node and everything below it."""
    documents: dict[int, Document] = {}
    for current, _ in reversed(list(walk(root))):
        below = [documents.pop(id(child)) for child in current.children]
        documents[id(current)] = {**node_document(current), "children": below}
    return documents[id(root)]


def node_document(current: Node) -> Document:
    """The node alone."""
    columns = {
        part.name: getattr(current, part.name)
        for part in fields(current)
        if part.name not in ("children", "spent", "cost_nano_usd")
    }
    document = {
        "type": current.type,
        **columns,
        "started_at": iso(current.started_at),
        "ended_at": iso(current.ended_at),
        "duration_ms": current.duration_ms,
    }
    if isinstance(current, LLMNode | ToolNode):
        return document | money(current.cost_nano_usd)
    return document | totals(current.spent)


def totals(spent: Spent) -> Document:
    return {
        "input_tokens": spent.input_tokens,
        "cached_tokens": spent.cached_tokens,
        "output_tokens": spent.output_tokens,
        "llm_calls": spent.llm_calls,
        "unpriced_calls": spent.unpriced_calls,
        "estimated_calls": spent.estimated_calls,
        "estimated_usd": exact_usd(spent.estimated_nano_usd),
        **money(spent.nano_usd),
    }


def money(nano_usd: int | None) -> Document:
    return {"cost_usd": None if nano_usd is None else exact_usd(nano_usd), "cost_nano_usd": nano_usd}


def run_document(row: Row) -> Document:
    """A run in a list: its row and the totals in it."""
    return {
        **{column: row[column] for column in _RUN_COLUMNS},
        "started_at": iso(row["started_at"]),
        "ended_at": iso(row["ended_at"]),
        "duration_ms": run_duration_ms(row),
        **money(row["cost_nano_usd"]),
    }


def run_duration_ms(row: Row) -> float | None:
    """How long a run took without the time it waited for a human; None while it runs."""
    if row["ended_at"] is None:
        return None
    return float((row["ended_at"] - row["started_at"]) / 1000 - (row["waiting_ms"] or 0))
