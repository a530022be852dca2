"""`tokentrace runs`: the latest runs, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click
from rich.table import Table
from rich.text import Text

from tokentrace_core.cli import figures, lines, main
from tokentrace_core.cli.document import run_document, run_duration_ms
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option
from tokentrace_core.cli.output import console, is_narrow, write_json
from tokentrace_core.cli.text import clean, shorten
from tokentrace_core.store.reader import Reader, Row

#: The end of an id tells runs apart, its start only when they began.
SHORT_ID = 8


class _Column(NamedTuple):
    header: str
    cell: Callable[[Row], str | Text]
    numeric: bool = False


def _cost(row: Row) -> str:
    return figures.spent(
        row["cost_nano_usd"], unpriced=row["unpriced_calls"], estimated=row["estimated_calls"]
    )


_ID = _Column("id", lambda row: row["id"][-SHORT_ID:])
_STATUS = _Column("status", lambda row: lines.status(row["status"]))
_COST = _Column("cost", _cost, True)
_TIME = _Column("time", lambda row: figures.duration(run_duration_ms(row)), True)

_WIDE = (
    _ID,
    _Column("started (UTC)", lambda row: figures.moment(row["started_at"])),
    _Column("name", lambda row: clean(row["name"])),
    _Column("user", lambda row: clean(row["user_id"] or figures.UNKNOWN)),
    _STATUS,
    _Column("steps", lambda row: f"{row['steps']:,}", True),
    _Column("calls", lambda row: f"{row['llm_calls']:,}", True),
    _Column("tokens in", lambda row: figures.tokens(row["input_tokens"]), True),
    _Column("out", lambda row: figures.tokens(row["output_tokens"]), True),
    _COST,
    _TIME,
)
#: For 80 characters: names cut, figures rounded, related ones in one column.
_NARROW = (
    _ID,
    _Column("UTC", lambda row: figures.moment(row["started_at"], "%m-%d %H:%M")),
    _Column("name", lambda row: shorten(row["name"], 12)),
    _Column("user", lambda row: shorten(row["user_id"] or figures.UNKNOWN, 8)),
    _Column("status", lambda row: lines.status(row["status"])),
    _Column("steps\n/calls", lambda row: f"{row['steps']}/{row['llm_calls']}", True),
    _Column(
        "tokens\nin/out",
        lambda row: "/".join(figures.tokens(row[c], narrow=True) for c in ("input_tokens", "output_tokens")),
        True,
    ),
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

    Times are UTC. A cost with ≈ rests on estimated usage, one with +? leaves out calls without a price.
    """
    with Reader(settings.path) as reader:
        rows = reader.runs(limit, since=since)
    if settings.json:
        write_json({"runs": [run_document(row) for row in rows]})
        return
    if not rows:
        click.echo(f"No runs in {clean(settings.path)}{' since then' if since is not None else ''}.")
        return
    _print(rows)


def _print(rows: list[Row]) -> None:
    screen = console()
    columns = _NARROW if is_narrow(screen) else _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            column.header, justify="right" if column.numeric else "left", no_wrap=True, overflow="fold"
        )
    for row in rows:
        table.add_row(*(_text(column.cell(row)) for column in columns))
    screen.print(table)


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)
