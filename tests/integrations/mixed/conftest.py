"""What the mixed tests share: all three frameworks recorded by one tracer, and a model that answers by the question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

import tests.integrations.crewai.quiet  # noqa: F401
import tokentrace_crewai
import tokentrace_langchain
import tokentrace_llama_index
from tests.conformance.rendering import rendered
from tests.conformance.work import ScriptedModel
from tests.integrations.mixed.parts import Asker
from tests.loopback import LoopbackServer
from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader

#: Asks an asker a question, in the way of this test.
Ask = Callable[[Asker, str], str]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Ask:
    """The test runs once for each way."""
    if request.param == "sync":
        return lambda asker, question: asker.ask(question)

    async def waited(asker: Asker, question: str) -> str:
        return await asker.ask_async(question)

    return lambda asker, question: runner.run(waited(asker, question), context=copy_context())


class Recorded:
    """What is in the file once all is written; there must be one run."""

    def __init__(self, stored: Callable[[], Reader]) -> None:
        self.reader = stored

    def tree(self) -> str:
        """The only run there is, as the text that does not depend on the framework."""
        reader = self.reader()
        [run] = reader.runs()
        return rendered(reader, run["id"])

    def shape(self) -> str:
        """The tree without what was found."""
        return "".join(
            f"{line.partition('{')[0]}\n" if "retrieval" in line else line
            for line in self.tree().splitlines(keepends=True)
        )


@pytest.fixture
def recorded(stored: Callable[[], Reader]) -> Recorded:
    return Recorded(stored)


@pytest.fixture
def model(server: LoopbackServer) -> ScriptedModel:
    """What the server answers with."""
    model = ScriptedModel()
    server.answer_with(model)
    return model


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
    """The whole process is recorded in the three frameworks while the test runs, and nothing stays open."""
    integrations = (tokentrace_crewai, tokentrace_langchain, tokentrace_llama_index)
    for integration in integrations:
        integration.instrument(tracer)
    yield
    for integration in integrations:
        integration.uninstrument()
    assert tracer.recorder.open_parts == 0
