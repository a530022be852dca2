"""Fixtures of the tests of data that move: commands, and a trace with something of everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.travel.programs import ask_a_model
from tokentrace_core import Tracer
from tokentrace_core.cli import main

Cli = Callable[..., str]
USER = "lovelace-4711"


@pytest.fixture
def cli() -> Cli:
    """Call a command that is to succeed; what it printed."""

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert done.exit_code == 0, done.output
        return done.output

    return run


def record(tracer: Tracer) -> str:
    """A run with something of everything; its id."""
    with (
        tracer.session("ticket 4711", user=USER, note="first"),
        tracer.run(
            "agent", tags=["a"], input="write to canary.bird@example.com", attributes={"tier": 1.5}
        ) as run,
    ):
        with run.step("think") as step:
            ask_a_model(step, "Look it up.")
            with step.tool("search", {"q": "=1+1"}) as tool:
                tool.done(["three"], cost_usd="0.000000001")
            step.set_reasoning("because")
        with run.llm("nobodys-model", messages=["a", "b"], tools=[{"name": "search"}]) as call:
            call.done("\u2028 ünïcode \U0001f600")
            call.score("good", 0.1, "fine")
        with run.tool("send") as tool:
            tool.done(error="@gone")
    with tracer.run("another") as other:
        ask_a_model(other)
    assert tracer.flush(10)
    assert run.id is not None
    return run.id


@pytest.fixture
def recorded(tracer: Tracer) -> Path:
    """A trace file with two runs."""
    record(tracer)
    return Path(tracer.path)
