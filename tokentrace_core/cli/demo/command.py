"""The command: three runs of one agent, each shown as `tokentrace show` shows it.

Which framework builds the agent is not known here: integrations announce a runner under the entry point group
`tokentrace.demos`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.rule import Rule

import tokentrace_core
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.scenarios import SCENARIOS, SYSTEM_PROMPT, Mind, Scenario, usage_of
from tokentrace_core.cli.demo.workspace import Workspace
from tokentrace_core.cli.document import tree_document
from tokentrace_core.cli.nodes import RunNode
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.render import print_run
from tokentrace_core.cli.text import clean
from tokentrace_core.cli.tree import read_tree
from tokentrace_core.errors import BudgetExceeded, MissingExtra, TokentraceError
from tokentrace_core.store.reader import Reader
from tokentrace_core.tracer import Tracer

_FOLDER = Path(tokentrace_core.__file__).parent
_NEXT = (
    "tokentrace show last --messages",
    "tokentrace cost --by model,step-name",
    "tokentrace runs",
)

#: Asks an agent of one framework a question, recorded by the tracer, and returns its answer.
Runner = Callable[..., str]


@main.command()
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=_FOLDER,
    help="The folder the agent looks at. Default: the installed tokentrace_core.",
)
@click.option(
    "--model",
    metavar="PROVIDER:MODEL",
    help="Ask a real model, such as openai:gpt-4o-mini (its client and key needed), not the scripted one.",
)
@common_options
@pass_settings
def demo(settings: Settings, folder: Path, model: str | None) -> None:
    """Run a real agent on real files: a normal run, a failing tool, a loop with a small budget.

    No key and no network is needed: the model is scripted, all else is real. The runs are added to the trace
    file.
    """
    runs = Demo(settings.path, folder, model)
    if settings.json:
        write_json([tree_document(runs.record(scenario)[0]) for scenario in SCENARIOS])
        return
    screen = console()
    for number, scenario in enumerate(SCENARIOS, start=1):
        _play(screen, runs, number, scenario)
    where = "" if settings.db is None else f" --db {settings.db}"
    screen.print(f"All of it is in {settings.path}. Try next:", soft_wrap=True)
    for command in _NEXT:
        screen.print(f"  {command}{where}", soft_wrap=True)


def _play(screen: Console, runs: Demo, number: int, scenario: Scenario) -> None:
    """Recorded first, printed then: what cannot be run has no heading."""
    tree, said = runs.record(scenario)
    title = f"{number}. {scenario.title}"
    screen.print(Rule(title, align="left") if screen.is_terminal else title)
    screen.print(f"asked: {scenario.question}")
    screen.print(f"said:  {clean(said)}")
    print_run(screen, tree)
    screen.print()


class Demo:
    """One agent, asked once per scenario."""

    def __init__(self, path: Path, folder: Path, model: str | None) -> None:
        self._path = path
        self._workspace = Workspace(folder)
        self._model = model
        self._runner = _installed_runner()

    def record(self, scenario: Scenario) -> tuple[RunNode, str]:
        """Run one scenario. What was recorded, and the answer or the error that stopped it."""
        with Tracer(self._path, budget=scenario.budget, project="demo") as tracer:
            ids: list[str] = []

            def note(recorder: object, run: tokentrace_core.Run) -> None:
                ids.append(run.id)

            tokentrace_core.signals.run_started.connect(note, sender=tracer.recorder)
            try:
                said = self._ask(tracer, scenario)
            except BudgetExceeded as stopped:
                said = f"BudgetExceeded: {stopped}"
            except Exception as error:
                if self._model is None or isinstance(error, TokentraceError):
                    raise
                raise TokentraceError(f"{self._model} did not answer: {error}") from error
            if not tracer.flush(10):
                raise TokentraceError(f"{self._path} could not be written: {tracer.losses or 'it is locked'}")
        with Reader(self._path) as reader:
            return read_tree(reader, ids[0]), said

    def _ask(self, tracer: Tracer, scenario: Scenario) -> str:
        return self._runner(
            tracer,
            scenario.question,
            system_prompt=SYSTEM_PROMPT,
            tools=self._workspace.tools(),
            model=self._model,
            answer=_answer_by(scenario.mind),
        )


def _installed_runner() -> Runner:
    """The runner of the first framework that is installed, LangChain before all others: it loads fastest."""
    announced: Sequence[EntryPoint] = sorted(
        entry_points(group="tokentrace.demos"), key=lambda e: (e.name != "langchain", e.name)
    )
    for entry in announced:
        try:
            return entry.load()  # type: ignore[no-any-return]
        except ImportError:
            continue
    raise MissingExtra("the demo", "langchain", "demo")


def _answer_by(mind: Mind) -> Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]:
    """The scripted mind in the terms of a model's reply. Ids count up, as every provider's differ."""
    count = 0

    def answer(conversation: list[Mapping[str, Any]]) -> Mapping[str, Any]:
        nonlocal count
        turn = mind(conversation)
        calls = []
        for request in turn.tools:
            count += 1
            calls.append({"id": f"call_{count}", "name": request.name, "args": request.arguments})
        return {"content": turn.text, "tool_calls": calls, "usage": usage_of(conversation, turn)}

    return answer
