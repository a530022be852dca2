"""What the LangChain tests share: a handler, and the four calling styles."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import tokentrace_langchain
from tests.integrations.langchain.driving import STYLES, Driver
from tokentrace_core import Tracer
from tokentrace_langchain import TokentraceHandler


@pytest.fixture(params=STYLES)
def call(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Driver:
    """Calls a runnable; the test runs once for each of the four styles."""
    return Driver(request.param, runner)


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
