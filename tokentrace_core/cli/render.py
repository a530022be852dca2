"""A run's tree on the screen: one line per span, errors below the span that met them, totals at the end."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tokentrace_core.cli import figures, lines
from tokentrace_core.cli.nodes import Node, RunNode, Spent, StepNode, ToolNode
from tokentrace_core.cli.text import clean
from tokentrace_core.cli.tree import llm_calls, walk
from tokentrace_core.pricing import show_usd

_EXPIRED = {
    "payloads": "Its texts are no longer kept (see `tokentrace retention`); its figures are.",
    "trace": "Its steps and calls are no longer kept (see `tokentrace retention`); its sums are.",
}


def print_run(screen: Console, run: RunNode) -> None:
    screen.print(_rich_tree(run))
    if run.expired:
        screen.print(Text(_EXPIRED[run.expired], style="yellow"))
    screen.print()
    for note in total_lines(run):
        screen.print(note)


def total_lines(run: RunNode) -> list[Text]:
    """The sums, and what they do not say."""
    spent = run.spent
    notes = [Text.assemble(("total  ", "bold"), _tokens(spent), ", ", lines.cost(spent))]
    if spent.estimated_calls:
        notes.append(
            Text(
                f"≈ {figures.count(spent.estimated_calls, 'call')} estimated: no usage was reported. "
                f"{show_usd(spent.estimated_nano_usd)} of the cost rests on that."
            )
        )
    if spent.unpriced_calls:
        models = [call.model_name for call in llm_calls(run) if call.cost_status == "unpriced"]
        how = f": `tokentrace prices {clean(models[0])}` shows how to price them." if models else "."
        notes.append(
            Text(
                f"{figures.count(spent.unpriced_calls, 'call')} unpriced, not in the cost{how}",
                style="yellow",
            )
        )
    return notes


def _tokens(spent: Spent) -> str:
    return (
        f"{figures.tokens(spent.input_tokens)} tokens in ({figures.tokens(spent.cached_tokens)} cached), "
        f"{figures.tokens(spent.output_tokens)} out"
    )


def _rich_tree(run: RunNode) -> Tree:
    root = Tree(_with_error(_heading(run), run), guide_style="dim")
    branches: dict[int, Tree] = {id(run): root}
    agents: dict[int, str | None] = {id(run): run.name}
    for parent, _ in walk(run):
        agent = agents[id(parent)]
        for child in parent.children:
            label = lines.step_line(child, agent) if isinstance(child, StepNode) else lines.line(child)
            branches[id(child)] = branches[id(parent)].add(_with_error(label, child))
            agents[id(child)] = _agent_below(child, agent)
    return root


def _agent_below(node: Node, agent: str | None) -> str | None:
    """Steps below a tool are always another agent's, even if it has the same name."""
    return None if isinstance(node, ToolNode) else agent


def _heading(run: RunNode) -> Text:
    facts = {
        "session": run.session_id if run.session_id != run.id else None,
        "user": run.user_id,
        "project": run.project,
        "framework": run.framework,
        "environment": run.environment,
        "agent version": run.agent_version,
        "tags": ", ".join(run.tags),
    }
    about = " · ".join(f"{name} {clean(value)}" for name, value in facts.items() if value)
    began = f"run {run.id} · {figures.moment(run.started_at)} UTC"
    return Text("\n").join(
        [lines.run_line(run), *(Text(text, style="dim") for text in (began, about) if text)]
    )


def _with_error(label: Text, node: Node) -> Text:
    """The same error often climbs from a call to its step and its run; the call says it, and the run."""
    error = None if isinstance(node, StepNode) and _said_below(node) else lines.error_line(node)
    return label if error is None else Text("\n").join([label, error])


def _said_below(step: StepNode) -> bool:
    return any(child.error == step.error for child in step.children)
