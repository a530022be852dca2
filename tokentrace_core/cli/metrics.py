"""`tokentrace metrics`: how runs go. All of them on one page, or a line for each group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.text import Text

from tokentrace_core.analysis.dimensions import NAMES, TOOL
from tokentrace_core.analysis.distribution import Distribution
from tokentrace_core.analysis.metric_figures import LATE, Metrics, StepMetrics, ToolMetrics
from tokentrace_core.analysis.metrics import metrics as measured
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.sums import scope_document
from tokentrace_core.cli.table import Group, print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader

_GROUPS = [name for name in NAMES if name not in (TOOL, "status")]


@main.command()
@click.option(
    "--by",
    metavar="DIMENSION[,...]",
    default="",
    help=f"A line for each group: {', '.join(_GROUPS)}; a comma list of them.",
)
@scope_options
@common_options
@pass_settings
def metrics(settings: Settings, by: str, scope: Scope) -> None:
    """How runs go: success, steps, cost, latency, tools, context.

    A run counts when it is over, in the time in which it began. A percentile is a value that occurred (nearest rank).
    A retry repeats a tool with arguments that had failed; three calls with the same arguments in a run are a loop; a
    correction tries a failed tool with other arguments; a fallback asks another model after a failure. With
    --by agent, step-name, model or provider, cost, steps and tools are those of that part of the runs.
    """
    names = tuple(name.strip() for name in by.split(",") if name.strip())
    with Reader(settings.path) as reader:
        try:
            groups = measured(reader, names, scope)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--by") from error
    if settings.json:
        rows = [_document(group, names) for group in groups]
        write_json(
            {
                "by": list(names),
                **scope_document(scope),
                "groups" if names else "metrics": rows if names else rows[0],
            }
        )
        return
    screen = console()
    if not any(group.runs for group in groups):
        waiting = sum(group.unfinished for group in groups)
        more = f"; {figures.count(waiting, 'run')} not over yet" if waiting else ""
        screen.print(Text(f"No runs to measure in {clean(settings.path)}{more}."))
    elif names:
        _print_groups(screen, names, groups)
    else:
        _print_all(screen, groups[0])
    for note in _notes(groups, counted=not names):
        screen.print(note)


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────


def _document(group: Metrics, names: tuple[str, ...]) -> dict[str, Any]:
    document = msgspec.to_builtins(group)
    cost = document.pop("cost_nano_usd")
    document["cost_usd"] = {name: value if name == "count" else _usd(value) for name, value in cost.items()}
    document["late_step_usd"] = _usd(document.pop("late_step_nano_usd"))
    for step in document["steps_by_number"]:
        step["mean_usd"] = _usd(step.pop("mean_nano_usd"))
    return {**dict(zip(names, document.pop("key"), strict=True)), **document}


def _usd(nano: float | None) -> str | None:
    """As text, as all money is; a mean to the nano-dollar."""
    return None if nano is None else figures.exact_usd(round(nano))


# ── for people ───────────────────────────────────────────────────────────────────────────────────────────


class _Shown(NamedTuple):
    header: str
    cell: Callable[[Metrics], str]


def _percent(part: float | None) -> str:
    return figures.UNKNOWN if part is None else f"{100 * part:.1f}%"


def _dollars(nano: float | None) -> str:
    return figures.UNKNOWN if nano is None else show_usd(round(nano))


def _cost(group: Metrics, nano: float | None) -> str:
    if nano is None:
        return figures.UNKNOWN
    return figures.spent(round(nano), unpriced=group.unpriced_calls, estimated=group.estimated_calls)


def _number(value: float | None) -> str:
    return figures.UNKNOWN if value is None else f"{value:,.10g}" if value == int(value) else f"{value:,.1f}"


_OF_GROUP = (
    _Shown("runs", lambda group: f"{group.runs:,}"),
    _Shown("success", lambda group: _percent(group.success_rate)),
    _Shown("steps p50", lambda group: _number(group.steps.p50)),
    _Shown("p99", lambda group: _number(group.steps.p99)),
    _Shown("cost p50", lambda group: _dollars(group.cost_nano_usd.p50)),
    _Shown("p99", lambda group: _dollars(group.cost_nano_usd.p99)),
    _Shown("total", lambda group: _cost(group, group.cost_nano_usd.total)),
    _Shown("time p50", lambda group: figures.duration(group.latency_ms.p50)),
    _Shown("p99", lambda group: figures.duration(group.latency_ms.p99)),
    _Shown("out/in", lambda group: _percent(group.token_efficiency)),
    _Shown("cached", lambda group: _percent(group.cache_hit_rate)),
    _Shown("loops", lambda group: _percent(group.loop_rate)),
    _Shown("fallback", lambda group: _percent(group.fallback_rate)),
)
_RATES = (
    _Shown("success", lambda group: _percent(group.success_rate)),
    _Shown("tokens out/in", lambda group: _percent(group.token_efficiency)),
    _Shown("from cache", lambda group: _percent(group.cache_hit_rate)),
    _Shown("in loops", lambda group: _percent(group.loop_rate)),
    _Shown("fallback", lambda group: _percent(group.fallback_rate)),
    _Shown("steps corrected", lambda group: _percent(group.self_correction_rate)),
)


def _print_groups(screen: Console, names: tuple[str, ...], groups: list[Metrics]) -> None:
    rows = [
        Group([clean(value) for value in group.key], [each.cell(group) for each in _OF_GROUP])
        for group in groups
    ]
    print_groups(screen, Group(names, [each.header for each in _OF_GROUP]), rows)


def _print_all(screen: Console, group: Metrics) -> None:
    rates = " · ".join(f"{each.header} {each.cell(group)}" for each in _RATES)
    screen.print(Text(f"{figures.count(group.runs, 'run')}: {rates}"))
    screen.print()
    spread: list[tuple[str, Distribution, Callable[[float | None], str], bool]] = [
        ("steps", group.steps, _number, True),
        ("cost", group.cost_nano_usd, lambda nano: _cost(group, nano), True),
        ("time", group.latency_ms, figures.duration, False),
        ("context used at the end", group.context_utilization, _percent, False),
    ]
    rows = [
        Group(
            [name],
            [
                *(show(value) for value in (of.p50, of.p99, of.mean, of.max)),
                show(of.total) if has_total else "",
            ],
        )
        for name, of, show, has_total in spread
    ]
    print_groups(screen, Group(["per run"], ("p50", "p99", "mean", "max", "total")), rows)
    if group.steps_by_number:
        screen.print()
        _print_steps(screen, group)
    if group.tools:
        screen.print()
        headers = ("calls", "per run", "errors", "retries", "runs in loops", "time p50", "p99")
        print_groups(screen, Group(["tool"], headers), [_of_tool(tool) for tool in group.tools])


def _print_steps(screen: Console, group: Metrics) -> None:
    steps = group.steps_by_number
    shown = [step for step in steps if step.step in (1, 2, 3, 4, 5, 10, 20, 50, 100) or step is steps[-1]]
    headers = ("runs", "tokens in", "mean cost", "run so far")
    print_groups(screen, Group(["step"], headers), [_of_step(step) for step in shown])
    if group.late_step_nano_usd is not None:
        screen.print(
            Text(f"A step from the {LATE}th on costs {_dollars(group.late_step_nano_usd)} on average.")
        )


def _of_step(step: StepMetrics) -> Group:
    so_far = figures.UNKNOWN if step.multiplier is None else f"{step.multiplier:,.1f} times step 1"
    sent = f"{step.mean_input_tokens:,.0f}"
    return Group([str(step.step)], [f"{step.runs:,}", sent, _dollars(step.mean_nano_usd), so_far])


def _of_tool(tool: ToolMetrics) -> Group:
    rates = [_percent(rate) for rate in (tool.error_rate, tool.retry_rate, tool.loop_rate)]
    times = [figures.duration(tool.latency_ms.p50), figures.duration(tool.latency_ms.p99)]
    return Group([clean(tool.name)], [f"{tool.calls:,}", f"{tool.calls_per_run:.2f}", *rates, *times])


def _notes(groups: list[Metrics], *, counted: bool) -> list[Text]:
    """What the figures leave out, and which of them are guesses. `counted`: no run is in two groups."""

    def some(count: int, noun: str) -> str:
        return figures.count(count, noun) if counted else f"{noun}s"

    said = []
    if unpriced := sum(group.unpriced_calls for group in groups):
        said.append(Text(f"+? {some(unpriced, 'call')} without a price, not in the cost.", style="yellow"))
    if estimated := sum(group.estimated_calls for group in groups):
        said.append(Text(f"≈ {some(estimated, 'call')} without reported usage: the cost is estimated."))
    if unfinished := sum(group.unfinished for group in groups):
        said.append(Text(f"{some(unfinished, 'run')} not over yet, in none of the figures."))
    return said
