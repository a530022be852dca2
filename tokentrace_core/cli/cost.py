"""`tokentrace cost`: what was spent, grouped, with its share of the whole and how sure the sum is."""

from __future__ import annotations

import re

import click
from rich.console import Console

from tokentrace_core.analysis.dimensions import GROUPS, canonical_by
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spending import spending
from tokentrace_core.analysis.spent import Spending, Spent
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.cost_questions import QUESTIONS, Asked
from tokentrace_core.cli.options import Settings, common_options, moment, pass_settings
from tokentrace_core.cli.output import console, is_bounded, is_narrow, write_json
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.sums import COUNTS, document, notes, scope_document, sum_of
from tokentrace_core.cli.table import Group, print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.store.reader import Reader

_HEADERS = ("runs", "calls", "in", "cached", "out")
_ID = re.compile("[0-9a-f]{32}")


def _dimensions(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = (name.strip() for name in value.split(","))
    try:
        return tuple(dict.fromkeys(canonical_by(name) for name in names if name))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@main.command()
@click.argument(
    "question", required=False, type=click.Choice(list(QUESTIONS)), metavar="[users|tools|success|failed]"
)
@click.option(
    "--by",
    metavar="DIMENSION[,...]",
    callback=_dimensions,
    default="model",
    show_default=True,
    help=f"Group by: {', '.join(GROUPS)}; a comma list of them.",
)
@click.option(
    "--changed", metavar="TIME", callback=moment, help="Of `success`: before this time, and from then on."
)
@click.option("--versions", metavar="OLD,NEW", help="Of `success`: these agent versions.")
@scope_options
@common_options
@pass_settings
def cost(
    settings: Settings,
    question: str | None,
    by: tuple[str, ...],
    changed: int | None,
    versions: str | None,
    scope: Scope,
) -> None:
    """What was spent, by model, user, tool, day and more.

    \b
    tokentrace cost users     the dearest tenth of the users
    tokentrace cost tools     tools that drive the dearest runs by triggering steps
    tokentrace cost success   cost per successful run, by week, or before and after a change
    tokentrace cost failed    what was spent on runs that failed

    "status" is the call's. By tool, the cost of a model call is shared among the tools called in its step. By tag,
    a run counts for each of its tags. A cost with ≈ rests on estimated usage, one with +? leaves out calls without
    a price. Hours, days and weeks (by their Monday) are UTC.

    On a terminal an id is its last 8 characters, as in `runs`; dimensions that leave no room for the figures
    stand above them.
    """
    if question != "success" and (changed is not None or versions):
        raise click.UsageError("--changed and --versions belong to `tokentrace cost success`.")
    if question is not None:
        with Reader(settings.path) as reader:
            answer = QUESTIONS[question](reader, Asked(scope, changed, versions))
        if settings.json:
            write_json({"question": question, **scope_document(scope), **answer.document})
        else:
            answer.show(console())
        return
    with Reader(settings.path) as reader:
        spent = spending(reader, by, scope)
    if settings.json:
        write_json(
            {
                "by": list(by),
                **scope_document(scope),
                "rows": [
                    {**dict(zip(by, row.key, strict=True)), **document(row, spent.total)}
                    for row in spent.rows
                ],
                "total": document(spent.total, spent.total),
            }
        )
        return
    screen = console()
    _print(screen, spent)
    for note in notes(spent.total):
        screen.print(note)


def _print(screen: Console, spent: Spending) -> None:
    """A row for each group, and the total."""
    by, narrow = spent.by, is_narrow(screen)
    names = [[_label(value, bounded=is_bounded(screen)) for value in row.key] for row in spent.rows]
    whole = ["total", *("" for _ in by[1:])]
    print_groups(
        screen,
        Group(by or [""], (*_HEADERS, "cost", "share")),
        [
            Group(label, _figures(row, spent.total, narrow))
            for label, row in zip(names, spent.rows, strict=True)
            if by
        ],
        footer=Group(whole, _figures(spent.total, spent.total, narrow)),
    )


def _label(value: object, *, bounded: bool) -> str:
    """One of our ids by its end, as in `runs`; in a pipe all of it."""
    label = clean(value)
    return label[-SHORT_ID:] if bounded and _ID.fullmatch(label) else label


def _figures(row: Spent, total: Spent, narrow: bool) -> list[str]:
    spent = sum_of(row)
    counts = [figures.tokens(getattr(row, name), narrow=narrow) for name in COUNTS]
    part = figures.share(row.cost_nano_usd, total.cost_nano_usd)
    return [*counts, spent, figures.UNKNOWN if spent == figures.UNPRICED else part]
