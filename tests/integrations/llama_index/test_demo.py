"""`tokentrace demo` does the same work in each framework, and shows the same."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage

import tokentrace_core
import tokentrace_langchain.demo
import tokentrace_llama_index.demo
from tokentrace_core import BudgetExceeded, TokentraceError, Tracer
from tokentrace_core.cli.demo.command import _answer_by
from tokentrace_core.cli.demo.scenarios import SCENARIOS, SYSTEM_PROMPT, Scenario
from tokentrace_core.cli.demo.workspace import Workspace
from tokentrace_core.cli.tree import plain_tree
from tokentrace_core.store.reader import Reader

FIGURES = re.compile(r" (input|cache_read|output|cost)=[\d.]+")
WORK = Path(tokentrace_core.__file__).parent


def shown(run_agent: Any, scenario: Scenario, db: Path) -> tuple[str, str]:
    """What the agent said, and its tree. The scripted model counts the words that a framework has sent it."""
    with Tracer(db, budget=scenario.budget) as tracer:
        try:
            said = run_agent(
                tracer,
                scenario.question,
                system_prompt=SYSTEM_PROMPT,
                tools=Workspace(WORK).tools(),
                model=None,
                answer=_answer_by(scenario.mind),
            )
        except BudgetExceeded as stop:
            said = f"stopped by {stop.scope}"
        assert tracer.flush(10)
        assert tracer.recorder.open_parts == 0
    with Reader(db) as reader:
        return said, FIGURES.sub("", plain_tree(reader, "last"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_the_demo_shows_the_same_in_both_frameworks(scenario: Scenario, tmp_path: Path) -> None:
    ours = shown(tokentrace_llama_index.demo.run_agent, scenario, tmp_path / "llama_index.db")
    assert ours == shown(tokentrace_langchain.demo.run_agent, scenario, tmp_path / "langchain.db")


def test_an_unknown_model_is_a_sentence(tmp_path: Path) -> None:
    with Tracer(tmp_path / "t.db") as tracer, pytest.raises(TokentraceError, match="nobody:nothing"):
        tokentrace_llama_index.demo.run_agent(
            tracer, "?", system_prompt="", tools=(), model="nobody:nothing", answer=lambda _: {}
        )


def test_the_scripted_model_answers_however_it_is_asked() -> None:
    model = tokentrace_llama_index.demo.ScriptedModel(
        answer=lambda _: {"content": "done", "usage": {"input": 5, "output": 1}}
    )
    asked = [ChatMessage(role="user", content="well?")]

    async def asked_later() -> list[str | None]:
        whole = [(await model.achat(asked)).message.content, (await model.acomplete("well?")).text]
        chats = [piece.message.content async for piece in await model.astream_chat(asked)]
        return [*whole, *chats, *[piece.text async for piece in await model.astream_complete("well?")]]

    said = [model.chat(asked).message.content, model.complete("well?").text]
    said += [piece.message.content for piece in model.stream_chat(asked)]
    said += [piece.text for piece in model.stream_complete("well?")]
    assert [*said, *asyncio.run(asked_later())] == ["done"] * 8
