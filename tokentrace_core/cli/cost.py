"""`tokentrace cost`: what was spent, grouped, with its share of the whole and how sure the sum is."""

from __future__ import annotations

import re
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option
from tokentrace_core.cli.output import console, is_bounded, is_narrow, write_json
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.table import Group, print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import DIMENSIONS, Reader, Row

_COUNTS = ("runs", "calls", "input_tokens", "cached_tokens", "output_tokens")
_HEADERS = ("runs", "calls", "in", "cached", "out")
_ID = re.compile("[0-9a-f]{32}")


def _dimensions(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if unknown := [name for name in names if name not in DIMENSIONS]:
        raise click.BadParameter(f"there is no dimension {unknown[0]!r}. There are: {', '.join(DIMENSIONS)}.")
    return names


@main.command()
@click.option(
    "--by",
    metavar="DIMENSION[,...]",
    callback=_dimensions,
    default="model",
    show_default=True,
    help=f"Group by: {', '.join(DIMENSIONS)}; a comma list of them.",
)
@since_option
@common_options
@pass_settings
def cost(settings: Settings, by: tuple[str, ...], since: int | None) -> None:
    """What was spent, by model, user, tool, day and more.

    "status" is the call's. By tool, the cost of a model call is shared among the tools called in its step. A
    cost with ≈ rests on estimated usage, one with +? leaves out calls without a price. Days are UTC.

    On a terminal an id is its last 8 characters, as in `runs`; dimensions that leave no room for the figures
    stand above them.
    """
    with Reader(settings.path) as reader:
        rows = reader.cost(by, since=since)
        total = reader.cost(since=since)[0]
    if settings.json:
        write_json(
            {
                "by": list(by),
                "since": figures.iso(since),
                "rows": [_document(row, by, total) for row in rows],
                "total": _document(total, (), total),
            }
        )
        return
    screen = console()
    _print(screen, rows, by, total)
    for note in _notes(total):
        screen.print(note)


def _document(row: Row, by: tuple[str, ...], total: Row) -> dict[str, Any]:
    whole = total["cost_nano_usd"]
    return {
        **{name: row[name] for name in (*by, *_COUNTS)},
        **money(row["cost_nano_usd"]),
        "share": round(row["cost_nano_usd"] / whole, 6) if whole else None,
        "unpriced_calls": row["unpriced_calls"],
        "unpriced_tokens": row["unpriced_tokens"],
        "estimated_calls": row["estimated_calls"],
        "estimated_usd": figures.exact_usd(row["estimated_nano_usd"]),
    }


def _print(screen: Console, rows: list[Row], by: tuple[str, ...], total: Row) -> None:
    narrow = is_narrow(screen)
    names = [[_label(row[name], bounded=is_bounded(screen)) for name in by] for row in rows]
    whole = ["total", *("" for _ in by[1:])]
    print_groups(
        screen,
        Group(by or [""], (*_HEADERS, "cost", "share")),
        [Group(label, _figures(row, total, narrow)) for label, row in zip(names, rows, strict=True) if by],
        footer=Group(whole, _figures(total, total, narrow)),
    )


def _label(value: object, *, bounded: bool) -> str:
    """One of our ids by its end, as in `runs`; in a pipe all of it."""
    label = clean(value)
    return label[-SHORT_ID:] if bounded and _ID.fullmatch(label) else label


def _figures(row: Row, total: Row, narrow: bool) -> list[str]:
    spent = figures.spent(
        row["cost_nano_usd"], unpriced=row["unpriced_calls"], estimated=row["estimated_calls"]
    )
    counts = [figures.tokens(row[name], narrow=narrow) for name in _COUNTS]
    part = figures.share(row["cost_nano_usd"], total["cost_nano_usd"])
    return [*counts, spent, figures.UNKNOWN if spent == figures.UNPRICED else part]


def _notes(total: Row) -> list[Text]:
    """What the dollars leave out, and how much of them is a guess."""
    notes = []
    if total["unpriced_calls"]:
        notes.append(
            Text(
                f"+? {figures.count(total['unpriced_calls'], 'call')} without a price "
                f"({figures.count(total['unpriced_tokens'], 'token')}), not in the cost: "
                "`tokentrace prices` lists the models.",
                style="yellow",
            )
        )
    if total["estimated_calls"]:
        part = figures.share(total["estimated_nano_usd"], total["cost_nano_usd"])
        notes.append(
            Text(
                f"≈ {show_usd(total['estimated_nano_usd'])} ({part}) of the cost is estimated: "
                f"{figures.count(total['estimated_calls'], 'call')} without reported usage."
            )
        )
    return notes
