"""`tokentrace retention`: what is older than it may be, by class of data; with --apply it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import click
from rich.text import Text

from tokentrace_core.cli import main
from tokentrace_core.cli.options import F, Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.progress import progress
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.store import audit
from tokentrace_core.store.pieces import do_all
from tokentrace_core.store.retention import Due, Keeping, Retention
from tokentrace_core.store.trace_file import transaction
from tokentrace_core.store.upkeep import opened

_WHAT = {
    "payloads": "runs whose texts go: messages, arguments, results, reasoning, errors",
    "traces": "runs whose steps, calls and scores go; their sums are kept by day",
    "summaries": "runs that go entirely",
    "aggregates": "daily sums that go",
}
_NEVER = "never"


def _age(_: click.Context, __: click.Parameter, value: str) -> str | None:
    return None if value == _NEVER else value


def _kept(name: str, default: str | None) -> Callable[[F], F]:
    return click.option(
        f"--{name}",
        metavar="AGE",
        default=default,
        show_default=True,
        callback=_age,
        help=f"How long {name} are kept.",
    )


@main.command()
@click.option("--apply", "really", is_flag=True, help="Do it. Without, only what would go is counted.")
@_kept("payloads", Retention.payloads)
@_kept("traces", Retention.traces)
@_kept("summaries", Retention.summaries)
@_kept("aggregates", Retention.aggregates)
@common_options
@pass_settings
def retention(settings: Settings, /, really: bool, **ages: str | None) -> None:
    """What is older than it may be, and with --apply: away with it.

    An AGE is 48h, 30d, 8w, 1y or "never". Payloads are what was said; without them every total, loop and shared prefix
    reads as before. When a trace goes, `cost` still has its sums by day, model, provider, project and status.

    Nothing of this happens by itself, unless a tracer was told so: Tracer(retention=Retention()).
    """
    try:
        rules = Retention(**ages)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with opened(settings.path) as connection:
        keeping = Keeping(connection, rules)
        due = keeping.due()
        if really:
            with progress(settings) as tell:
                do_all(connection, keeping.pieces(), tell)
            with transaction(connection):
                audit.note(connection, "retention", **asdict(due))
            connection.execute("pragma wal_checkpoint(truncate)")
    if settings.json:
        write_json({"dry_run": not really, "kept": ages, "due": asdict(due)})
    else:
        _print(rules, due, really)


def _print(rules: Retention, due: Due, really: bool) -> None:
    screen = console()
    columns = (
        Column("class"),
        Column("kept"),
        Column("gone" if really else "due", numeric=True),
        Column("", flexible=True),
    )
    kept, counts = asdict(rules), asdict(due)
    print_table(
        screen,
        columns,
        [
            [Text(cell) for cell in (name, kept[name] or _NEVER, f"{counts[name]:,}", what)]
            for name, what in _WHAT.items()
        ],
    )
    if due and not really:
        screen.print("Nothing was changed. Add --apply to let it go.")
