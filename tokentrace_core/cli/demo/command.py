"""The command: three runs of one agent, each shown as `tokentrace show` shows it.

Which frameworks can build the agent is not known here: integrations announce a runner each under the entry point
group `tokentrace.demos`, by the name that is also the name of the extra that installs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.rule import Rule

import tokentrace_core
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.month.command import write_demo_month
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

#: Framework -> where its runner is, the preferred one first: it loads fastest.
_ANNOUNCED = {
    entry.name: entry
    for entry in sorted(
        entry_points(group="tokentrace.demos"), key=lambda entry: (entry.name != "langchain", entry.name)
    )
}

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
    "--framework",
    type=click.Choice(list(_ANNOUNCED)),
    help="Whose agent it is. Default: the first of them that is installed.",
)
@click.option(
    "--model",
    metavar="PROVIDER:MODEL",
    help="Ask a real model, such as openai:gpt-4o-mini (its client and key needed), not the scripted one.",
)
@click.option(
    "--month",
    is_flag=True,
    help="Instead, write a month of five agents' traffic, 47 % of it wasted, into a file of its own.",
)
@common_options
@pass_settings
def demo(settings: Settings, folder: Path, framework: str | None, model: str | None, month: bool) -> None:
    """Run a real agent on real files: a normal run, a failing tool, a loop with a small budget.

    No key and no network is needed: the model is scripted, all else is real. The runs are added to the trace
    file.
    """
    if month:
        if framework or model or folder != _FOLDER:
            raise click.UsageError(
                "--month is a story of its own: no --folder, --framework or --model with it."
            )
        write_demo_month(settings)
        return
    runs = Demo(settings.path, folder, framework, model)
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

    def __init__(self, path: Path, folder: Path, framework: str | None, model: str | None) -> None:
        self._path = path
        self._workspace = Workspace(folder)
        self._model = model
        self._runner = _runner_of(framework) if framework else _installed_runner()

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


def _runner_of(framework: str) -> Runner:
    """The runner of this framework. If that is not installed, its integration says how to."""
    try:
        return _ANNOUNCED[framework].load()  # type: ignore[no-any-return]
    except MissingExtra:
        raise
    except ImportError as error:
        raise TokentraceError(f"the demo with {framework} cannot be loaded: {error}") from error


def _installed_runner() -> Runner:
    """The runner of the first framework that is installed."""
    for framework in _ANNOUNCED:
        try:
            return _runner_of(framework)
        except TokentraceError:
            continue
    raise MissingExtra("the demo", "a framework", "demo")


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
