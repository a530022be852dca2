"""What the LlamaIndex tests share: a process that is recorded, and a way to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from typing import Any

import pytest

import tokentrace_llama_index
from tokentrace_core import Tracer

Wait = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def wait(runner: asyncio.Runner) -> Wait:
    """Runs a coroutine to its end, in this test's context."""
    return lambda coroutine: runner.run(coroutine, context=copy_context())


@pytest.fixture(autouse=True)
def _instrumented(tracer: Tracer) -> Iterator[None]:
    """The whole process is recorded while the test runs."""
    tokentrace_llama_index.instrument(tracer)
    yield
    tokentrace_llama_index.uninstrument()
