"""What the tests of all frameworks share: an event loop, a tracer with the test's own budget, the latest run."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integrations.trees import tree
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader, Row

LastRun = Callable[[], tuple[Row, list[Row]]]
LastTree = Callable[[], str]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop serves all tests: clients keep connections, which live in the loop they began in."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def budget() -> Budget | None:
    """The budget of `tracer`; tests give their own."""
    return None


@pytest.fixture
def tracer(db: Path, budget: Budget | None) -> Iterator[Tracer]:
    with Tracer(db, budget=budget) as tracer:
        yield tracer


@pytest.fixture
def nothing_collected() -> Iterator[None]:
    """httpcore waits for itself for ever if a stream that was abandoned is collected while its pool is at work."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()


@pytest.fixture
def last_run(stored: Callable[[], Reader], tracer: Tracer) -> LastRun:
    """The only run there is, and its model calls; nothing of it is held any longer."""

    def read() -> tuple[Row, list[Row]]:
        reader = stored()
        [run] = reader.runs()
        assert tracer.recorder.open_parts == 0
        return run, reader.llm_calls(run["id"])

    return read


@pytest.fixture
def last_tree(stored: Callable[[], Reader], tracer: Tracer) -> LastTree:
    """The latest run as text; nothing of it is held any longer."""

    def read() -> str:
        assert tracer.recorder.open_parts == 0
        return tree(stored())

    return read
