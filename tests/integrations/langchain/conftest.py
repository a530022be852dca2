"""What the LangChain tests share: a handler, the four calling styles, a run's tree as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tokentrace_langchain
from tests.integrations.langchain.driving import STYLES, Driver
from tests.integrations.langchain.trees import tree
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader, Row
from tokentrace_langchain import TokentraceHandler

LastRun = Callable[[], tuple[Row, list[Row]]]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=STYLES)
def call(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Driver:
    """Calls a runnable; the test runs once for each of the four styles."""
    return Driver(request.param, runner)


@pytest.fixture
def budget() -> Budget | None:
    """The budget of `tracer`; tests give their own."""
    return None


@pytest.fixture
def tracer(db: Path, budget: Budget | None) -> Iterator[Tracer]:
    with Tracer(db, budget=budget) as tracer:
        yield tracer


@pytest.fixture
def handler(tracer: Tracer) -> TokentraceHandler:
    return TokentraceHandler(tracer)


@pytest.fixture
def config(handler: TokentraceHandler) -> dict[str, Any]:
    """A config that records what is called with it."""
    return {"callbacks": [handler]}


@pytest.fixture
def instrumented(tracer: Tracer) -> Iterator[None]:
    """The whole process is recorded while the test runs."""
    tokentrace_langchain.instrument(tracer)
    yield
    tokentrace_langchain.uninstrument()


@pytest.fixture
def last_run(stored: Callable[[], Reader]) -> LastRun:
    """The only run there is, and its model calls."""

    def read() -> tuple[Row, list[Row]]:
        reader = stored()
        [run] = reader.runs()
        return run, reader.llm_calls(run["id"])

    return read


@pytest.fixture
def last_tree(stored: Callable[[], Reader]) -> Callable[[], str]:
    """The latest run as text."""
    return lambda: tree(stored())
