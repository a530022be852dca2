"""Texts that attack a terminal, a file or whoever reads them, in every place that takes a text: the agent goes on as it
would, and nobody who reads the record is shown a line that we have not written.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from tests.loopback import LoopbackServer
from tests.privacy.canaries import crewai_agent, langchain_agent, llama_index_agent, program
from tests.privacy.canaries.bench import STYLES, Bench
from tests.privacy.canaries.outlets import Outlets
from tests.privacy.canaries.planting import Cage
from tokentrace_core import Tracer

FORGED = "4711 forged success $0.00"
#: What each of them would do: begin a line of its own, colour or move what stands there, ring, name the window, end the
#: text, turn it round, or be refused by whoever encodes it.
ATTACKS = {
    "line ends": f"a\r\n{FORGED}\r{FORGED}\n{FORGED}\x0b{FORGED}\x0c{FORGED}\x85{FORGED}\u2028{FORGED}\u2029{FORGED}",
    "terminal": f"\x1b[2J\x1b[1;1H\x1b[31m{FORGED}\x1b]0;owned\x07\x9b31m\x08\x7f[bold]{FORGED}[/bold]",
    "direction": f"\u202e{FORGED}\u2066\u200f\u061c",
    "NUL": f"a\0{FORGED}\0",
    "percent and braces": "%s %d %(x)s {0} {!r:>9} $HOME `id` $(id)",
    "SQL": "'); drop table runs; --",
}
#: These reach no framework's network client, which refuses them itself.
HARSHER = {
    "lone surrogates": "a\ud800b\udfff \udcff",
    "very long": "x" * 20_000,
    "nothing": "",
    "a placeholder": "[EMAIL_REDACTED] [DROPPED len=3]",
}
FRAMEWORKS = {"LangChain": langchain_agent, "LlamaIndex": llama_index_agent, "CrewAI": crewai_agent}
#: What a terminal obeys, and what ends a line.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\ud800-\udfff]"
)


@dataclass
class Attacker(Cage):
    """Says the same everywhere."""

    said: str = ""

    def at(self, place: str) -> str:
        # CrewAI cuts an answer where it says what was named as a parameter: its end.
        return "." if place == "parameter" else self.said

    def said_at(self, place: str) -> str:
        return self.said

    def named_at(self, place: str) -> dict[str, str]:
        return {"client_secret": self.said}

    def named_tool_at(self, place: str) -> str:
        return "look_up"


Attack = Callable[..., dict[str, bytes]]


@pytest.fixture
def attack(db: Path, server: LoopbackServer, runner: asyncio.Runner) -> Attack:
    """Puts an agent to work once for each of these texts, which it says everywhere; what came out of it."""

    def attack(agent: ModuleType, *texts: str) -> dict[str, bytes]:
        outlets = Outlets(db.parent)
        for number, said in enumerate(texts):
            server.reset()
            cage, style = Attacker([], said=said), STYLES[number % len(STYLES)]
            with Tracer(db, prices=program.PRICES, budget=program.BUDGET, project=said) as tracer:
                with outlets.open(tracer):
                    agent.work(Bench(tracer, server, runner, outlets, cage, style))
                assert tracer.flush(60), said
                assert tracer.losses == {}, said
        outlets.commands(db, "nothing")
        return outlets.came_out()

    return attack


def assert_harmless(came_out: dict[str, bytes]) -> None:
    shown = {
        outlet: printed.decode("utf-8", "surrogatepass")
        for outlet, printed in came_out.items()
        if outlet.startswith("tokentrace ")
    }
    assert len(shown) > 8
    for outlet, text in shown.items():
        assert not OBEYED.search(text), (outlet, OBEYED.search(text))
        assert not [line for line in text.splitlines() if line.startswith(FORGED)], outlet


@pytest.mark.parametrize("name", ATTACKS | HARSHER)
def test_a_program_says_it_everywhere(attack: Attack, name: str) -> None:
    assert_harmless(attack(program, (ATTACKS | HARSHER)[name]))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_agent_says_all_of_it_everywhere(attack: Attack, framework: str) -> None:
    assert_harmless(attack(FRAMEWORKS[framework], *ATTACKS.values()))
