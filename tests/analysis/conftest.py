"""Fixtures of the reading side: a file of mixed traffic, and its rows as they are, to reckon with a second time."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.analysis import traffic
from tokentrace_core import Tracer
from tokentrace_core.cli.demo.month import Weeks, write_weeks
from tokentrace_core.store.reader import Reader

PlantedWeeks = Callable[[str], tuple[Path, Weeks]]
Row = dict[str, Any]


class Raw:
    """All rows of a file, read without any of our SQL."""

    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row

        def table(name: str, order: str) -> list[Row]:
            return [dict(row) for row in connection.execute(f"select * from {name} order by {order}")]

        self.runs = table("runs", "started_at, id")
        self.steps = table("steps", "run_id, number")
        self.calls = [row for row in table("llm_calls", "started_at, id") if row["status"] != "refused"]
        self.tools = table("tool_calls", "started_at, id")
        connection.close()
        self.run_of = {run["id"]: run for run in self.runs}
        self.step_of = {(step["run_id"], step["id"]): step for step in self.steps}
        self.tools_of: dict[tuple[str, str | None], list[Row]] = defaultdict(list)
        for tool in sorted(self.tools, key=lambda tool: tool["id"]):
            self.tools_of[tool["run_id"], tool["step_id"]].append(tool)

    def of_run(self, rows: list[Row], run: Row) -> list[Row]:
        return [row for row in rows if row["run_id"] == run["id"]]


def input_tokens(call: Row) -> int:
    """All that was sent."""
    kinds = ("input_uncached_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
    return sum(call[kind] or 0 for kind in kinds)


def attributes(row: Row | None) -> Row:
    return json.loads(row["attributes"] or "{}") if row else {}


@pytest.fixture(scope="module")
def traffic_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty runs of mixed traffic."""
    path = tmp_path_factory.mktemp("traffic") / "traces.db"
    with Tracer(path, prices=traffic.PRICES, budget=traffic.BUDGET) as tracer:
        traffic.record(tracer, seed=7, runs=40)
    return path


@pytest.fixture(scope="module")
def raw(traffic_file: Path) -> Raw:
    return Raw(traffic_file)


@pytest.fixture
def reader(traffic_file: Path) -> Iterator[Reader]:
    with Reader(traffic_file) as reader:
        yield reader


@pytest.fixture(scope="session")
def planted_weeks(tmp_path_factory: pytest.TempPathFactory) -> PlantedWeeks:
    """The two weeks of a case and what is known of them, written once: to be read only."""
    written: dict[str, tuple[Path, Weeks]] = {}

    def look(case: str) -> tuple[Path, Weeks]:
        if case not in written:
            path = tmp_path_factory.mktemp("weeks") / "weeks.db"
            written[case] = path, write_weeks(path, case, start=datetime(2026, 10, 5, tzinfo=UTC))
        return written[case]

    return look
