"""A file is read some runs at a time: where one page ends and the next begins is nobody's business."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.audit.conftest import BOOK, Agent, only, user
from tokentrace_core import PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import Audit, audit, trace
from tokentrace_core.analysis.what_if import RetryCap, WhatIf, what_if
from tokentrace_core.analysis.what_if.changes import USUAL
from tokentrace_core.cli.demo.month import KINDS, write_month
from tokentrace_core.store.reader import Reader

Audited = Callable[..., Audit]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few days with every kind of waste."""
    path = tmp_path_factory.mktemp("pages") / "month.db"
    write_month(path, plant=KINDS, scale=0.3)
    return path


def told(found: Audit) -> list[Any]:
    """All that an audit says of what was wasted."""
    sums = found.calls, found.tokens, found.nano_usd, found.unreadable_calls
    return [sums, *((finding.title, finding.times, finding.sql) for finding in found.findings)]


@pytest.mark.parametrize(("rows", "runs"), [(1, 1), (50, 7)])
@pytest.mark.parametrize(
    "scope", [Scope(), Scope(where={"agent": ("support", "docs")})], ids=["all", "two agents"]
)
def test_an_audit_says_the_same_however_many_runs_are_read_at_once(
    month: Path, scope: Scope, rows: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, changed = audit(month, scope, prices=PriceBook()), what_if(month, USUAL, scope, prices=PriceBook())
    assert len(whole.findings) >= 3
    monkeypatch.setattr(trace, "_ROWS", rows)
    monkeypatch.setattr(trace, "_RUNS", runs)
    assert told(audit(month, scope, prices=PriceBook())) == told(whole)
    assert what_if(month, USUAL, scope, prices=PriceBook()) == changed


def test_prompts_that_an_earlier_version_wrote_are_read_as_well(month: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.db"
    with closing(sqlite3.connect(month)) as file, closing(sqlite3.connect(earlier)) as copy:
        file.backup(copy)
        copy.execute("update prompts set role = null, bytes = null")
        copy.commit()
        some = told(audit(earlier, Scope(), prices=PriceBook()))
        copy.execute("alter table prompts drop column role")
        copy.execute("alter table prompts drop column bytes")
        copy.commit()
    assert (
        some
        == told(audit(earlier, Scope(), prices=PriceBook()))
        == told(audit(month, Scope(), prices=PriceBook()))
    )


@pytest.mark.parametrize(
    "look", [lambda db: audit(db, Scope(), prices=BOOK), lambda db: what_if(db, [RetryCap(2)])]
)
def test_more_runs_are_not_more_queries(
    agent: Agent,
    tracer: Tracer,
    db: Path,
    look: Callable[[Path], Audit | WhatIf],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A month of a large team would take an hour."""
    asked: list[str] = []

    def execute(self: Reader, sql: str, *rest: Any, execute: Any = Reader.execute) -> Iterator[Any]:
        asked.append(sql)
        return execute(self, sql, *rest)

    monkeypatch.setattr(Reader, "execute", execute)
    counted = []
    for _ in range(2):
        for number in range(20):
            with tracer.run("support"):
                agent.ask([user(f"Where is order {number}?")], prompt=2_000)
                agent.use("lookup", {"id": number}, error="429")
                agent.ask([user(f"Where is order {number}?"), user("Well?")], prompt=2_100)
        assert tracer.flush(10)
        asked.clear()
        look(db)
        counted.append(len(asked))
    assert counted[0] == counted[1] > 0


def test_a_run_of_more_calls_than_a_text_can_hold_is_read_row_by_row(month: Path) -> None:
    whole = audit(month, Scope(), prices=PriceBook())
    with Reader(month) as reader:
        reader._database.conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)
        assert told(audit(reader, Scope(), prices=PriceBook())) == told(whole)


LONG = "The order is on its way. " * 10


@pytest.mark.parametrize(
    ("results", "loops"),
    [
        pytest.param([LONG] * 5, True, id="the same"),
        pytest.param([f"{LONG} Parcel {number}." for number in range(5)], False, id="another end"),
    ],
)
def test_results_that_begin_alike_are_compared_to_their_end(
    agent: Agent, audited: Audited, results: list[str], loops: bool
) -> None:
    with agent.tracer.run("support"):
        for result in results:
            agent.ask([user("Where is my order?")], "", prompt=1_000)
            agent.use("lookup", {"id": 4711}, result)
    found = audited()
    assert bool(found.findings) == loops
    if loops:
        assert (only(found).kind, len(only(found).calls)) == ("loop", 3)
