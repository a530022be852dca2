"""The demo's agent in CrewAI: the same mind, the same tools, the same record as in every framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integrations.crewai.conftest import LastTree
from tokentrace_core import Budget, BudgetExceeded, TokentraceError, Tracer
from tokentrace_crewai.demo import run_agent

SPENT = {"input": 1500, "cached": 1024, "output": 20}


def read_file(path: str) -> str:
    """Read a file."""
    return Path(path).read_text()


def calling(n: int, path: str) -> dict[str, Any]:
    asked = {"id": f"call_{n}", "name": "read_file", "args": {"path": path}}
    return {"content": "", "tool_calls": [asked], "usage": SPENT}


def ask(tracer: Tracer, *answers: dict[str, Any], model: str | None = None) -> str:
    left = iter(answers)
    return run_agent(
        tracer,
        "What is in it?",
        system_prompt="You read.",
        tools=[read_file],
        model=model,
        answer=lambda conversation: next(left),
    )


def test_a_scripted_mind_uses_real_tools_and_recovers_from_one_that_fails(
    tracer: Tracer, last_tree: LastTree, tmp_path: Path
) -> None:
    there = tmp_path / "a.txt"
    there.write_text("Tides.")
    missing = str(tmp_path / "b.txt")
    said = ask(tracer, calling(1, missing), calling(2, str(there)), {"content": "Tides.", "usage": SPENT})
    assert said == "Tides."
    lines = [line.replace(str(tmp_path), "") for line in last_tree().splitlines()[1:]]
    assert lines == [
        "run librarian success: What is in it? -> Tides.",
        "  step librarian 1 model success",
        "    llm gpt-4o-mini success",
        '    tool read_file{"path":"/b.txt"} failure (FileNotFoundError): None',
        "  step librarian 2 model success",
        "    llm gpt-4o-mini success",
        '    tool read_file{"path":"/a.txt"} success: Tides.',
        "  step librarian 3 model success",
        "    llm gpt-4o-mini success",
    ]


def test_its_figures_are_the_minds_and_it_belongs_to_the_demo(tracer: Tracer, only_run: Any) -> None:
    ask(tracer, {"content": "Nothing.", "usage": SPENT})
    run = only_run()
    assert (run["session_id"], run["user_id"]) == ("demo", "demo")
    assert (run["input_tokens"], run["cached_tokens"], run["output_tokens"]) == (1500, 1024, 20)


@pytest.mark.parametrize("budget", [Budget(steps=2)])
def test_its_budget_stops_it(tracer: Tracer, only_run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Tides.")
    with pytest.raises(BudgetExceeded):
        ask(tracer, *(calling(n, str(tmp_path / "a.txt")) for n in range(5)))
    run = only_run()
    assert (run["error_type"], run["llm_calls"], run["tool_calls"]) == ("budget_exceeded", 2, 2)


def test_an_unknown_model_is_a_sentence(tracer: Tracer) -> None:
    with pytest.raises(TokentraceError, match="--model nobody:nothing cannot be used"):
        ask(tracer, model="nobody:nothing")
