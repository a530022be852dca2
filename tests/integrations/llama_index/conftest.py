"""What the LlamaIndex tests share: a process that is recorded, an event loop, a run's tree as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

import tokentrace_llama_index
from tests.integrations.langchain.trees import tree
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader, Row

LastRun = Callable[[], tuple[Row, list[Row]]]
Wait = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def wait(runner: asyncio.Runner) -> Wait:
    """Runs a coroutine to its end, in this test's context."""
    return lambda coroutine: runner.run(coroutine, context=copy_context())


@pytest.fixture
def budget() -> Budget | None:
    """The budget of `tracer`; tests give their own."""
    return None


@pytest.fixture
def tracer(db: Path, budget: Budget | None) -> Iterator[Tracer]:
    with Tracer(db, budget=budget) as tracer:
        yield tracer


@pytest.fixture(autouse=True)
def _instrumented(tracer: Tracer) -> Iterator[None]:
    """The whole process is recorded while the test runs."""
    tokentrace_llama_index.instrument(tracer)
    yield
    tokentrace_llama_index.uninstrument()


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
def last_tree(stored: Callable[[], Reader], tracer: Tracer) -> Callable[[], str]:
    """The latest run as text; nothing of it is held any longer."""

    def read() -> str:
        assert tracer.recorder.open_parts == 0
        return tree(stored())

    return read
