"""`tokentrace logs`: what log files alone can answer, when the trace file is out of reach."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option, until_option
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.logs.reading import LogFiles
from tokentrace_core.logs.report import Reliability, Report, report

_CALLS = (
    Column("calls", numeric=True),
    Column("errors", numeric=True),
    Column("error rate", numeric=True),
    Column("p95", numeric=True),
)
_MONEY = (Column("tokens", numeric=True), Column("cost", numeric=True))


@main.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False)
)
@since_option
@until_option
@common_options
@pass_settings
def logs(settings: Settings, files: tuple[Path, ...], since: int | None, until: int | None) -> None:
    """Errors, latency, cost, loops and refusals, from structured logs alone: no trace file is needed.

    FILE is a log that `tokentrace_core.logs.attach` has written, as it is or gzipped; give all of a rotated log:
    agent.log*. Lines that are none are counted and skipped. Days are UTC, of the time when a call began.
    """
    lines = LogFiles(files)
    found = report(lines, since=_time(since), until=_time(until))
    if settings.json:
        write_json(_document(found, lines))
        return
    screen = console()
    _print(screen, found)
    _print_skipped(screen, lines)


def _time(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1_000_000, UTC)


def _document(found: Report, lines: LogFiles) -> dict[str, Any]:
    return {
        "lines": lines.lines,
        "broken": lines.broken,
        "foreign": lines.foreign,
        "runs": len(found.runs),
        "cost": money(found.nano_usd),
        "tools": {name: _calls(calls) for name, calls in _most_first(found.tools)},
        "models": {name: _calls(calls) for name, calls in _most_first(found.models)},
        "users": [
            {
                "day": day,
                "user": user,
                "cost": money(spent.nano_usd),
                "tokens": spent.tokens,
                "llm_calls": spent.llm_calls,
                "unpriced_calls": spent.unpriced_calls,
                "estimated_calls": spent.estimated_calls,
            }
            for (day, user), spent in _by_day(found)
        ],
        "loops": [
            {"run_id": loop.trace_id, "tool": loop.tool, "repeats": loop.repeats}
            for loop in found.worst_loops
        ],
        "refused": dict(found.refused),
    }


def _calls(calls: Reliability) -> dict[str, Any]:
    return {
        "calls": calls.calls,
        "errors": calls.errors,
        "error_rate": round(calls.error_rate, 6),
        "p95_ms": calls.p95_ms,
        "tokens": calls.tokens,
        "cost": money(calls.nano_usd),
        "unpriced_calls": calls.unpriced,
    }


def _print(screen: Console, found: Report) -> None:
    if not found.runs:
        screen.print("No run is in these files.")
        return
    if found.tools:
        print_table(
            screen,
            (Column("tool", flexible=True), *_CALLS),
            [_tool(*row) for row in _most_first(found.tools)],
        )
        screen.print()
    if found.models:
        print_table(
            screen,
            (Column("model", flexible=True), *_CALLS, *_MONEY),
            [_model(*row) for row in _most_first(found.models)],
        )
        screen.print()
    if found.spent:
        columns = (Column("day"), Column("user", flexible=True), Column("calls", numeric=True), *_MONEY)
        print_table(screen, columns, _days(found), _sum(found))
        screen.print()
    for loop in found.worst_loops:
        screen.print(
            Text(f"loop: {clean(loop.tool)} called {loop.repeats} times alike in run {_short(loop.trace_id)}")
        )
    for scope, times in found.refused.most_common():
        screen.print(Text(f"refused: {figures.count(times, 'call')} by {clean(scope)}"))
    screen.print(Text(figures.count(len(found.runs), "run")))


def _print_skipped(screen: Console, lines: LogFiles) -> None:
    if lines.broken:
        screen.print(f"{figures.count(lines.broken, 'broken line')} of {lines.lines:,} skipped.")
    if lines.foreign:
        screen.print(f"{figures.count(lines.foreign, 'line')} of {lines.lines:,} not of tokentrace skipped.")


def _tool(name: str, calls: Reliability) -> list[Text]:
    rate = figures.share(calls.errors, calls.calls)
    cells = (clean(name), f"{calls.calls:,}", f"{calls.errors:,}", rate, figures.duration(calls.p95_ms))
    return [Text(cell) for cell in cells]


def _model(name: str, calls: Reliability) -> list[Text]:
    cost = figures.spent(calls.nano_usd, unpriced=calls.unpriced)
    return [*_tool(name, calls), Text(figures.tokens(calls.tokens)), Text(cost)]


def _days(found: Report) -> list[list[Text]]:
    return [
        [
            Text(cell)
            for cell in (
                clean(day),
                clean(user if user is not None else "(none)"),
                f"{spent.llm_calls:,}",
                figures.tokens(spent.tokens),
                figures.spent(spent.nano_usd, unpriced=spent.unpriced_calls, estimated=spent.estimated_calls),
            )
        ]
        for (day, user), spent in _by_day(found)
    ]


def _sum(found: Report) -> list[Text]:
    every = list(found.spent.values())
    cost = figures.spent(
        found.nano_usd,
        unpriced=sum(spent.unpriced_calls for spent in every),
        estimated=sum(spent.estimated_calls for spent in every),
    )
    calls, tokens = sum(spent.llm_calls for spent in every), sum(spent.tokens for spent in every)
    return [Text(cell) for cell in ("total", "", f"{calls:,}", figures.tokens(tokens), cost)]


def _by_day(found: Report) -> list[tuple[tuple[str, str | None], Any]]:
    return sorted(found.spent.items(), key=lambda row: (row[0][0], -row[1].nano_usd, row[0][1] or ""))


def _most_first(calls: Mapping[str, Reliability]) -> list[tuple[str, Reliability]]:
    return sorted(calls.items(), key=lambda row: (-row[1].calls, row[0]))


def _short(trace_id: str) -> str:
    return clean(trace_id[-SHORT_ID:])
