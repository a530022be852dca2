"""Fixtures of the log tests: a log beside the trace file, and its lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Tracer
from tokentrace_core.logs import RunLog, attach

Lines = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def path(db: Path) -> Path:
    """Where the log goes."""
    return db.with_name("agent.log")


@pytest.fixture
def log(tracer: Tracer, path: Path) -> RunLog:
    """The log of this test's tracer."""
    return attach(tracer, path)


@pytest.fixture
def lines(path: Path) -> Lines:
    """The log's lines, of these events or all."""

    def read(*events: str, of: Path = path) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in of.read_text().split("\n")[:-1]]
        return [line for line in found if not events or line["message"] in events]

    return read
