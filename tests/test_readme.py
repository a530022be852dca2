"""The README is true: every block of code in it is run, and its picture is what the demo prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain.agents import create_agent

from tests.loopback import LoopbackServer, Turn
from tests.loopback.clients import openai_client
from tokentrace_core import Tracer
from tokentrace_langchain import uninstrument
from tokentrace_langchain.demo import ScriptedChatModel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

#: Commands that .ci/run tries in fresh environments, and those that never end by themselves.
_TRIED_ELSEWHERE = re.compile(r"^pip install ")
_SERVES_FOR_EVER = {"datasette traces.db": "datasette traces.db --get /traces/run_costs.json"}


class Block(NamedTuple):
    language: str
    code: str


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.S | re.M)]


def of(language: str) -> list[Any]:
    return [
        pytest.param(block.code, id=block.code.strip().splitlines()[0][:60])
        for block in BLOCKS
        if block.language == language
    ]


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """Runs a command in an empty folder, with this environment's programs and a narrow terminal's width."""

    def run(command: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=os.environ
            | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def test_every_block_has_a_language_that_is_tried() -> None:
    assert {block.language for block in BLOCKS} == {"bash", "python", "text"}


@pytest.mark.parametrize("code", of("python"))
def test_a_python_block_runs_as_it_stands(
    code: str, tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.script_loop(Turn(text="plan: look it up"))
    agent = create_agent(
        ScriptedChatModel(answer=lambda _: {"content": "done", "usage": {"input": 50, "output": 5}}), []
    )
    given = {
        "agent": agent,
        "question": {"messages": [("user", "Where is my order?")]},
        "messages": [{"role": "user", "content": "Where is my order?"}],
        "client": openai_client(server),
        "orders": {4711: "on its way"},
    }
    try:
        exec(compile(code, "README.md", "exec"), given)
    finally:
        uninstrument()
        for value in given.values():
            if isinstance(value, Tracer):
                assert value.close()
                assert not value.losses


@pytest.mark.parametrize("code", of("bash"))
def test_a_shell_block_runs_after_the_demo(code: str, shell: Callable[[str], str]) -> None:
    shell("tokentrace demo")
    for command in code.strip().splitlines():
        if not _TRIED_ELSEWHERE.match(command):
            assert shell(_SERVES_FOR_EVER.get(command, command)).strip()


def test_the_picture_is_what_the_demo_prints(shell: Callable[[str], str]) -> None:
    picture = next(block.code for block in BLOCKS if block.language == "text")
    shown = shell("tokentrace demo")
    second_run = shown.split("2. a tool that fails")[1].split("3. a loop")[0]
    tree = second_run[second_run.index("librarian ·") :]
    assert _without_figures(picture) == _without_figures(tree)


def _without_figures(shown: str) -> str:
    """Ids, times, sizes and costs differ from run to run and as the package grows; all else must be equal."""
    shown = re.sub(r"\b[0-9a-f]{32}\b", "ID", shown)
    shown = re.sub(r"\d[\d,.:-]*( ?(ms|s|B|kB)\b)?", "N", shown)
    return re.sub(r"N( N)+", "N", shown).strip()
