"""A secret that an agent works with is nowhere in what tokentrace keeps, prints, logs, raises or hands to receivers of its
signals, whichever way it came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.loopback import LoopbackServer
from tests.privacy.canaries import crewai_agent, langchain_agent, llama_index_agent, program
from tests.privacy.canaries.bench import STYLES, Bench
from tests.privacy.canaries.kinds import KINDS
from tests.privacy.canaries.looking import Leak, leaks, told
from tests.privacy.canaries.outlets import Outlets
from tests.privacy.canaries.planting import Cage, Canary
from tokentrace_core import Redactor, Tracer

ALONE = [[kind] for kind in KINDS]
#: Four kinds at once, and those of different makes: a crew takes its time.
TOGETHER = [list(KINDS)[start::10] for start in range(10)]
AGENTS = {
    "program": (program, ALONE),
    "LangChain": (langchain_agent, TOGETHER),
    "LlamaIndex": (llama_index_agent, TOGETHER),
    "CrewAI": (crewai_agent, TOGETHER),
}


class Watched(NamedTuple):
    planted: list[Canary]
    found: list[Leak]
    places: set[str]


Watch = Callable[..., Watched]


@pytest.fixture
def watch(db: Path, server: LoopbackServer, runner: asyncio.Runner) -> Watch:
    """Puts an agent to work once for each cage, in another style each time, and looks for what came out."""

    def watch(agent: ModuleType, cages: Iterable[list[str]], redactor: Redactor | None = None) -> Watched:
        outlets, planted = Outlets(db.parent), list[Canary]()
        settings = {"prices": program.PRICES, "budget": program.BUDGET, "project": "shop"}
        with Tracer(db, redactor=redactor, **settings) as tracer:
            for number, kinds in enumerate(cages):
                server.reset()
                cage = Cage(kinds)
                with outlets.open(tracer):
                    agent.work(Bench(tracer, server, runner, outlets, cage, STYLES[number % len(STYLES)]))
                planted += cage.planted
            assert tracer.flush(30)
            outlets.files("while open")
        cage = Cage(list(KINDS))
        outlets.commands(db, cage.said_at("a file to redact"))
        planted += [] if redactor else cage.planted
        outlets.files("at the end")
        assert tracer.losses == {}
        return Watched(planted, leaks(planted, outlets.came_out()), {canary.place for canary in planted})

    return watch


def test_there_are_forty_kinds_of_canaries() -> None:
    assert len(KINDS) == 40


@pytest.mark.parametrize("agent", AGENTS)
def test_no_canary_comes_out(watch: Watch, agent: str) -> None:
    watched = watch(*AGENTS[agent])
    assert not watched.found, told(watched.found)
    assert len(watched.places) >= 15
    assert {canary.kind for canary in watched.planted} >= set(KINDS)


@pytest.mark.parametrize("agent", AGENTS)
def test_without_the_redactor_the_canaries_are_seen(watch: Watch, blind: Redactor, agent: str) -> None:
    module, _ = AGENTS[agent]
    watched = watch(module, TOGETHER if agent == "program" else TOGETHER[: len(STYLES)], blind)
    seen = {leak.canary for leak in watched.found}
    unseen = {canary.place for canary in watched.planted if canary not in seen}
    assert unseen <= module.NOT_KEPT
