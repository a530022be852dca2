"""`tokentrace cost`: what was spent, grouped, with its share of the whole and how sure the sum is."""

from __future__ import annotations

import re
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.analysis.dimensions import GROUPS, canonical_by
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spending import spending
from tokentrace_core.analysis.spent import Spending, Spent
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, is_bounded, is_narrow, write_json
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.table import Group, print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader

_COUNTS = ("runs", "calls", "input_tokens", "cached_tokens", "output_tokens")
_HEADERS = ("runs", "calls", "in", "cached", "out")
_ID = re.compile("[0-9a-f]{32}")


def _dimensions(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = (name.strip() for name in value.split(","))
    try:
        return tuple(dict.fromkeys(canonical_by(name) for name in names if name))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@main.command()
@click.option(
    "--by",
    metavar="DIMENSION[,...]",
    callback=_dimensions,
    default="model",
    show_default=True,
    help=f"Group by: {', '.join(GROUPS)}; a comma list of them.",
)
@scope_options
@common_options
@pass_settings
def cost(settings: Settings, by: tuple[str, ...], scope: Scope) -> None:
    """What was spent, by model, user, tool, day and more.

    "status" is the call's. By tool, the cost of a model call is shared among the tools called in its step. By tag,
    a run counts for each of its tags. A cost with ≈ rests on estimated usage, one with +? leaves out calls without
    a price. Hours, days and weeks (by their Monday) are UTC.

    On a terminal an id is its last 8 characters, as in `runs`; dimensions that leave no room for the figures
    stand above them.
    """
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
    print_spending(screen, spent)
    for note in notes(spent.total):
        screen.print(note)


def scope_document(scope: Scope) -> dict[str, Any]:
    """What was asked about, for JSON."""
    where = {name: list(values) for name, values in scope.where.items()}
    return {"since": figures.iso(scope.since), "until": figures.iso(scope.until), "where": where}


def document(row: Spent, total: Spent) -> dict[str, Any]:
    """Sums, for JSON."""
    whole = total.cost_nano_usd
    return {
        **{name: getattr(row, name) for name in _COUNTS},
        **money(row.cost_nano_usd),
        "share": round(row.cost_nano_usd / whole, 6) if whole else None,
        "unpriced_calls": row.unpriced_calls,
        "unpriced_tokens": row.unpriced_tokens,
        "estimated_calls": row.estimated_calls,
        "estimated_usd": figures.exact_usd(row.estimated_nano_usd),
    }


def print_spending(screen: Console, spent: Spending) -> None:
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
    counts = [figures.tokens(getattr(row, name), narrow=narrow) for name in _COUNTS]
    part = figures.share(row.cost_nano_usd, total.cost_nano_usd)
    return [*counts, spent, figures.UNKNOWN if spent == figures.UNPRICED else part]


def sum_of(row: Spent) -> str:
    """Dollars, and how sure they are."""
    return figures.spent(row.cost_nano_usd, unpriced=row.unpriced_calls, estimated=row.estimated_calls)


def notes(total: Spent) -> list[Text]:
    """What the dollars leave out, and how much of them is a guess."""
    said = []
    if total.unpriced_calls:
        said.append(
            Text(
                f"+? {figures.count(total.unpriced_calls, 'call')} without a price "
                f"({figures.count(total.unpriced_tokens, 'token')}), not in the cost: "
                "`tokentrace prices` lists the models.",
                style="yellow",
            )
        )
    if total.estimated_calls:
        part = figures.share(total.estimated_nano_usd, total.cost_nano_usd)
        said.append(
            Text(
                f"≈ {show_usd(total.estimated_nano_usd)} ({part}) of the cost is estimated: "
                f"{figures.count(total.estimated_calls, 'call')} without reported usage."
            )
        )
    return said
