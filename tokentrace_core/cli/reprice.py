"""`tokentrace reprice`: what recorded calls would cost at other prices; with `--apply`, what they cost from now on."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.prices import book_of, prices_option
from tokentrace_core.cli.table import Group as Line
from tokentrace_core.cli.table import print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.repriced_file import apply
from tokentrace_core.store.repricing import Group, Question, Repricing, select


@main.command()
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="At this day's prices. Without: at those of each call's own day, as they are known now.",
)
@click.option(
    "--model", "models", multiple=True, metavar="M", help="Only calls of this model; may be repeated."
)
@since_option
@prices_option
@click.option("--apply/--dry-run", "for_good", default=False, help="Change the file. Without: only show.")
@common_options
@pass_settings
def reprice(
    settings: Settings,
    as_of: datetime | None,
    models: tuple[str, ...],
    since: int | None,
    prices: Path | None,
    for_good: bool,
) -> None:
    """What recorded calls would cost at other prices, old and new side by side.

    Nothing changes without --apply. Then calls, and the totals of their runs and steps, change in one transaction,
    and the old figures stay in the table repriced_calls. Runs that are not over are left out; so are figures that rest
    on your own prices, unless they are given (--prices). What budgets have counted stays as it was. While --apply
    works (some 25 seconds for a million calls) nobody else can write to the file.
    """
    question = Question(models, since, date_of(as_of))
    book = book_of(prices)
    done = None
    if for_good:
        with Reader(settings.path) as reader:
            path = reader.path
        done, result = apply(path, book, question)
    else:
        result = Repricing(book, question)
        with Reader(settings.path) as reader:
            for _ in result.changes(reader.query(*select("r.status", question))):
                pass
    if settings.json:
        write_json(_document(result, done))
    else:
        _print(result, done, settings)


def date_of(point: datetime | None) -> date | None:
    return None if point is None else point.date()


def _print(result: Repricing, done: str | None, settings: Settings) -> None:
    total = result.total()
    if not total.calls and not result.unfinished_calls:
        click.echo(f"No call in {clean(settings.path)} can be priced again.")
        return
    screen = console()
    groups = sorted(result.groups.values(), key=lambda group: -abs(group.new_nano - group.old_nano))
    print_groups(
        screen,
        Line(("model", "provider"), ("calls", "changed", "old", "new", "difference")),
        [
            Line((clean(group.model), clean(group.provider or figures.UNKNOWN)), _figures(group))
            for group in groups
        ],
        Line(("total", ""), _figures(total)),
    )
    for note in _notes(result, done):
        screen.print(Text(note))


def _figures(group: Group) -> list[str]:
    difference = group.new_nano - group.old_nano
    return [
        figures.tokens(group.calls),
        figures.tokens(group.changed),
        figures.spent(group.old_nano, unpriced=group.old_unpriced),
        figures.spent(group.new_nano, unpriced=group.new_unpriced),
        f"{'+' if difference > 0 else ''}{show_usd(difference)}",
    ]


def _notes(result: Repricing, done: str | None) -> list[str]:
    total, notes = result.total(), []
    if total.new_unpriced:
        notes.append(f"{total.new_unpriced:,} calls have no price and are in neither sum (+?).")
    if total.kept:
        notes.append(
            f"{total.kept:,} calls keep their figure: it rests on prices that are not known here. Name them with "
            "--prices FILE."
        )
    if result.unfinished_calls:
        notes.append(f"{result.unfinished_calls:,} calls are left out: their runs are not over.")
    if done is not None:
        notes.append(
            f"Done. The old figures of {total.changed:,} calls are kept in repriced_calls as {done}."
        )
    elif total.changed:
        notes.append("Nothing is changed. To change it: the same with --apply")
    return notes


def _document(result: Repricing, done: str | None) -> dict[str, Any]:
    as_of = result.question.as_of
    return {
        "applied": done is not None,
        "repricing": done,
        "as_of": as_of.isoformat() if as_of else None,
        "models": [
            {"model": group.model, "provider": group.provider, **_sums(group)}
            for group in result.groups.values()
        ],
        "total": _sums(result.total()),
        "unfinished_calls": result.unfinished_calls,
    }


def _sums(group: Group) -> dict[str, Any]:
    return {
        "calls": group.calls,
        "changed_calls": group.changed,
        "kept_calls": group.kept,
        "old": {**money(group.old_nano), "unpriced_calls": group.old_unpriced},
        "new": {**money(group.new_nano), "unpriced_calls": group.new_unpriced},
    }
