"""Small cases of waste, recorded through the tracer: conversations with a model that costs round figures."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import ModelPrice, PriceBook, Tracer, Usage
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import Audit, Finding, audit
from tokentrace_core.payload import Payload
from tokentrace_core.redact import Redactor
from tokentrace_core.store.reader import Reader

#: Dollars per million tokens: 1 in, 0.1 from the cache, 1.25 to write to it, 10 out. `claude` is cached on demand, `gpt-x` by itself.
BOOK = PriceBook(
    {"claude-x": ModelPrice(input=1, output=10), "gpt-x": ModelPrice(input=1, output=10, cache_write_5m=1)}
)


class Agent:
    """Says things in one run at a time, and is billed by the size of what it sends: four bytes a token."""

    def __init__(self, tracer: Tracer, model: str = "claude-x") -> None:
        self.tracer, self.model = tracer, model

    def ask(
        self, messages: list[dict[str, Any]], reply: Any = "It is done.", *, read: int = 0, write: int = 0,
        output: int = 20, prompt: int | None = None, tools: list[Any] | None = None, **facts: Any,
    ) -> None:  # fmt: skip
        """One model call. `read`, `write`: tokens of the prompt from the cache, and written to it."""
        sizes = [Payload(message, Redactor()).size for message in [*messages, *([tools] if tools else [])]]
        prompt = prompt or sum(sizes) // 4
        usage = Usage(
            input_uncached_tokens=prompt - read - write,
            cache_read_tokens=read,
            cache_write_5m_tokens=write,
            output_tokens=output,
        )
        with self.tracer.llm(self.model, messages=messages, tools=tools, **facts) as call:
            call.done(reply, usage=usage)

    def use(
        self, tool: str, arguments: Any, result: Any = "ok", *, error: str | None = None, **facts: Any
    ) -> None:
        """One tool call, which may fail."""
        try:
            with self.tracer.tool(tool, arguments) as call:
                if error:
                    raise RuntimeError(error)
                call.done(result, **facts)
        except RuntimeError:
            pass


def text(tokens: int, word: str = "word") -> str:
    """A text of about so many tokens that no other word gives."""
    return (f"{word} " * (4 * tokens // (len(word) + 1) + 1))[: 4 * tokens]


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    return {"role": "system", "content": content}


@pytest.fixture
def tracer(db: Path) -> Iterator[Tracer]:
    with Tracer(db, prices=BOOK) as tracer:
        yield tracer


@pytest.fixture
def agent(tracer: Tracer) -> Agent:
    """Of a model that caches what it is asked to cache."""
    return Agent(tracer)


@pytest.fixture
def audited(tracer: Tracer, db: Path) -> Callable[..., Audit]:
    """Audit what was recorded so far, after looking at what must hold of every audit."""

    def look(scope: Scope | None = None) -> Audit:
        assert tracer.flush(10)
        found = audit(db, scope or Scope(), prices=BOOK)
        check(found, db)
        return found

    return look


def check(found: Audit, db: Path) -> None:
    """No dollar twice, no call claimed for more than it cost, and every finding proved by its own query."""
    with Reader(db) as reader:
        cost = {
            (row["run_id"], row["id"]): row["cost_nano_usd"] or 0
            for row in reader.query("select * from llm_calls")
        }
    claimed: dict[tuple[str, str], int] = {}
    for finding in found.findings:
        assert finding.wasted_nano_usd >= 0
        assert finding.fix
        assert finding.first_seen <= finding.last_seen
        for key, nano in _proved(finding, db):
            claimed[key] = claimed.get(key, 0) + nano
    assert all(nano <= cost[key] for key, nano in claimed.items())
    assert sum(claimed.values()) == found.wasted_nano_usd <= found.nano_usd == sum(cost.values())


def _proved(finding: Finding, db: Path) -> list[tuple[tuple[str, str], int]]:
    with closing(sqlite3.connect(f"{db.as_uri()}?mode=ro", uri=True)) as file:
        file.row_factory = sqlite3.Row
        rows = file.execute(finding.sql).fetchall()
    assert sorted((row["run_id"], row["id"]) for row in rows) == sorted(finding.calls)
    assert sum(row["wasted_tokens"] for row in rows) == finding.wasted_tokens
    assert sum(row["wasted_nano_usd"] for row in rows) == finding.wasted_nano_usd
    return [((row["run_id"], row["id"]), row["wasted_nano_usd"]) for row in rows]


def only(found: Audit) -> Finding:
    """The finding there is."""
    [finding] = found.findings
    return finding
