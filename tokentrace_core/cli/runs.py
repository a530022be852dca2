"""`tokentrace runs`: the latest runs, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click
from rich.text import Text

from tokentrace_core.cli import figures, lines, main
from tokentrace_core.cli.checks import losses_line
from tokentrace_core.cli.document import run_document, run_duration_ms
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option
from tokentrace_core.cli.output import console, is_narrow, write_json
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean, shorten
from tokentrace_core.store.reader import Reader, Row

#: The end of an id tells runs apart, its start only when they began.
SHORT_ID = 8


class _Shown(NamedTuple):
    """A column of the list, and what stands in it."""

    header: str
    cell: Callable[[Row], str | Text]
    numeric: bool = False
    flexible: bool = False


def _cost(row: Row) -> str:
    return figures.spent(
        row["cost_nano_usd"], unpriced=row["unpriced_calls"], estimated=row["estimated_calls"]
    )


def _tokens(row: Row) -> str:
    return "/".join(figures.tokens(row[name], narrow=True) for name in ("input_tokens", "output_tokens"))


def _cut(text: str | None) -> Text:
    """A name that ends in … where the column ends."""
    return Text(shorten(text or figures.UNKNOWN, 24), no_wrap=True, overflow="ellipsis")


_ID = _Shown("id", lambda row: row["id"][-SHORT_ID:])
_STATUS = _Shown("status", lambda row: lines.status(row["status"]))
_COST = _Shown("cost", _cost, numeric=True)
_TIME = _Shown("time", lambda row: figures.duration(run_duration_ms(row)), numeric=True)

_WIDE = (
    _ID,
    _Shown("started (UTC)", lambda row: figures.moment(row["started_at"])),
    _Shown("name", lambda row: clean(row["name"])),
    _Shown("user", lambda row: clean(row["user_id"] or figures.UNKNOWN)),
    _STATUS,
    _Shown("steps", lambda row: f"{row['steps']:,}", numeric=True),
    _Shown("calls", lambda row: f"{row['llm_calls']:,}", numeric=True),
    _Shown("tokens in", lambda row: figures.tokens(row["input_tokens"]), numeric=True),
    _Shown("out", lambda row: figures.tokens(row["output_tokens"]), numeric=True),
    _COST,
    _TIME,
)
#: For 80 characters: names cut, figures rounded, related ones in one column.
_NARROW = (
    _ID,
    _Shown("UTC", lambda row: figures.moment(row["started_at"], "%m-%d %H:%M")),
    _Shown("name", lambda row: _cut(row["name"]), flexible=True),
    _Shown("user", lambda row: _cut(row["user_id"]), flexible=True),
    _STATUS,
    _Shown("steps\n/calls", lambda row: f"{row['steps']}/{row['llm_calls']}", numeric=True),
    _Shown("tokens\nin/out", _tokens, numeric=True),
    _COST,
    _TIME,
)


@main.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@since_option
@common_options
@pass_settings
def runs(settings: Settings, limit: int, since: int | None) -> None:
    """The latest runs, newest first.

    Times are UTC. A cost with ≈ rests on estimated usage, one with +? leaves out calls without a price. A line
    below says how many records could not be stored, if any.
    """
    with Reader(settings.path) as reader:
        rows = reader.runs(limit, since=since)
        lost = reader.losses(since=since)
    if settings.json:
        losses = [{**row, "at": figures.iso(row["at"])} for row in lost]
        write_json({"runs": [run_document(row) for row in rows], "losses": losses})
        return
    if rows:
        _print(rows)
    else:
        click.echo(f"No runs in {clean(settings.path)}{' since then' if since is not None else ''}.")
    if lost:
        console().print(Text(f"! records lost: {clean(losses_line(lost))}", style="yellow"))


def _print(rows: list[Row]) -> None:
    screen = console()
    shown = _NARROW if is_narrow(screen) else _WIDE
    columns = [Column(each.header, each.numeric, each.flexible) for each in shown]
    print_table(screen, columns, [[_text(each.cell(row)) for each in shown] for row in rows])


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)
