"""What the CrewAI tests share: CrewAI kept quiet and off the network, the whole process recorded, a run's tree as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.integrations.crewai.quiet  # noqa: F401
import tokentrace_crewai
from tests.integrations.trees import tree
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader, Row

Stored = Callable[[], Reader]
LastTree = Callable[[], str]


@pytest.fixture
def budget() -> Budget | None:
    """The budget of `tracer`; tests give their own."""
    return None


@pytest.fixture(autouse=True)
def tracer(db: Path, budget: Budget | None) -> Iterator[Tracer]:
    """The whole process is recorded while the test runs, and nothing stays open after it."""
    with Tracer(db, budget=budget) as tracer:
        tokentrace_crewai.instrument(tracer)
        yield tracer
        tokentrace_crewai.uninstrument()
        assert tracer.recorder.open_parts == 0


@pytest.fixture
def last_tree(stored: Stored) -> LastTree:
    """The only run there is, as text."""

    def read() -> str:
        reader = stored()
        [run] = reader.runs()
        return "\n" + tree(reader, run["id"])

    return read


@pytest.fixture
def only_run(stored: Stored) -> Callable[[], Row]:
    def read() -> Any:
        [run] = stored().runs()
        return run

    return read
