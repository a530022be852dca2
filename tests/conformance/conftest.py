"""What the suite needs from pytest: the stage, one event loop for all, and no sentence that is skipped in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.stage import STYLES, Stage
from tests.conformance.suite import HandlerSuite
from tests.conformance.table import Results
from tests.loopback import LoopbackServer
from tokentrace_core import Budget, Tracer, shield

RESULTS = pytest.StashKey[Results]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the suites find, for the table."""
    config.stash[RESULTS] = Results()
    config.pluginmanager.register(config.stash[RESULTS])


@pytest.fixture
def results(request: pytest.FixtureRequest) -> Results:
    """What has been found so far in this session."""
    return request.config.stash[RESULTS]


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def budget() -> Budget | None:
    """The tracer's budget; sentences about stops give their own."""
    return None


@pytest.fixture(params=STYLES)
def style(request: pytest.FixtureRequest) -> str:
    """How the agent is called: a sentence that takes it is played once in each style."""
    return str(request.param)


@pytest.fixture
def stage(
    request: pytest.FixtureRequest,
    db: Path,
    budget: Budget | None,
    server: LoopbackServer,
    runner: asyncio.Runner,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    monkeypatch.setattr(shield, "_logged", set())  # what the log says once, it says once in each sentence
    with Tracer(db, budget=budget) as tracer:
        driver = request.cls.driver(tracer, server)
        stage = Stage(driver, tracer, server, caplog, runner)
        driver.attach()
        try:
            yield stage
        finally:
            stage.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """A sentence that is skipped, or expected to fail, without a written reason has failed."""
    report = yield
    suite = getattr(item, "cls", None)
    if report.skipped and isinstance(suite, type) and issubclass(suite, HandlerSuite):
        sentence = getattr(item, "originalname", item.name)
        if sentence not in suite.EXCEPTIONS:
            report.outcome = "failed"
            report.longrepr = f"{suite.__name__}.{sentence} is skipped and EXCEPTIONS says no reason"
    return report
