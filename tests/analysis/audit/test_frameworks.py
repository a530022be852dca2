"""Real agents of each framework, with a real client and a scripted provider: what they waste is found as in any other trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

import tests.integrations.crewai.quiet  # noqa: F401
from tests.analysis.audit.conftest import check, only, text
from tests.conformance.crewai_driver import CrewAIDriver
from tests.conformance.driver import Driver
from tests.conformance.langchain_driver import LangChainDriver
from tests.conformance.llama_index_driver import LlamaIndexDriver
from tests.conformance.stage import Stage
from tests.conformance.work import Work, calls
from tests.loopback import LoopbackServer, Turn
from tests.loopback.turns import TurnUsage
from tokentrace_core import PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import Audit, audit
from tokentrace_core.analysis.audit.fixes import FIXES

USED = TurnUsage(input=1_000, output=20)


@pytest.fixture
def tracer(db: object) -> Iterator[Tracer]:
    """With the prices of the list: the models are real ones."""
    with Tracer(str(db)) as tracer:
        yield tracer


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=[LangChainDriver, LlamaIndexDriver, CrewAIDriver], ids=lambda driver: driver.framework)
def stage(
    request: pytest.FixtureRequest,
    tracer: Tracer,
    server: LoopbackServer,
    caplog: pytest.LogCaptureFixture,
    runner: asyncio.Runner,
) -> Iterator[Stage]:
    driver: Driver = request.param(tracer, server)
    stage = Stage(driver, tracer, server, caplog, runner)
    driver.attach()
    yield stage
    stage.finish()


@pytest.fixture
def audited(stage: Stage) -> Callable[[], Audit]:
    def look() -> Audit:
        reader = stage.read()
        found = audit(reader, Scope(), prices=PriceBook())
        check(found, reader.path)
        return found

    return look


def lookup(order: int) -> str:
    """Look up an order."""
    raise RuntimeError("429 Too Many Requests")


def status(order: int) -> str:
    """The status of an order."""
    return "at the depot"


def test_an_agent_that_tries_a_failing_tool_a_fourth_time_storms(
    stage: Stage, audited: Callable[[], Audit]
) -> None:
    stage.expect(
        "Where is order 7?",
        *[calls(("lookup", {"order": 7}), usage=USED)] * 4,
        Turn("I cannot say.", usage=USED),
    )
    stage.ask(Work("Where is order 7?", tools=(lookup,)))
    finding = only(audited())
    assert finding.kind == "retry_storm"
    assert len(finding.calls) == 1
    assert finding.wasted_tokens == 1_020
    assert finding.framework == stage.framework
    assert finding.fix == FIXES["retry_storm"][stage.driver.framework]


def test_an_agent_that_tries_again_twice_does_not(stage: Stage, audited: Callable[[], Audit]) -> None:
    stage.expect(
        "Where is order 7?",
        *[calls(("lookup", {"order": 7}), usage=USED)] * 3,
        Turn("I cannot say.", usage=USED),
    )
    stage.ask(Work("Where is order 7?", tools=(lookup,)))
    assert audited().findings == ()


def test_an_agent_that_asks_the_same_again_and_again_loops(
    stage: Stage, audited: Callable[[], Audit]
) -> None:
    stage.expect(
        "Where is order 7?",
        *[calls(("status", {"order": 7}), usage=USED)] * 4,
        Turn("At the depot.", usage=USED),
    )
    stage.ask(Work("Where is order 7?", tools=(status,)))
    finding = only(audited())
    assert finding.kind == "loop"
    assert len(finding.calls) == 2


def test_a_document_sent_in_each_turn_is_fetched_again(stage: Stage, audited: Callable[[], Audit]) -> None:
    document = text(3_000, "manual")
    stage.expect(document, Turn("Yes.", usage=TurnUsage(input=3_100, output=5)))
    for _ in range(4):
        stage.ask(Work(document, provider="anthropic", model="claude-sonnet-4-5"))
    finding = only(audited())
    assert finding.kind == "refetch"
    assert len(finding.calls) == 3
    assert 2_900 * 3 < finding.wasted_tokens <= 3_100 * 3
