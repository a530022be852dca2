"""`tokentrace tail`: follow a file that others write.

Each look opens the file, reads what is new and closes it again, so no lock and no snapshot outlives a look,
and a file that is deleted and made anew is simply the next one. Followed are places in the tables, not times:
a row that is written late or by a process with another clock is not missed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.cli import figures, lines, main
from tokentrace_core.cli.document import Document, node_document
from tokentrace_core.cli.nodes import LLMNode, Node, RunNode, ToolNode, node
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json_line
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.text import clean
from tokentrace_core.cli.tree import read_tree
from tokentrace_core.errors import StoreError
from tokentrace_core.store.reader import Reader, Row

_CALLS: dict[str, type[Node]] = {"llm_calls": LLMNode, "tool_calls": ToolNode}
_TABLES = ("runs", *_CALLS)
#: In the same microsecond, a run ends after its calls.
_ENDS = ("run_ended", "run_waiting")
#: A file that was just made has no tables for a moment.
_PATIENCE_S = 5.0


class _Event(NamedTuple):
    at: int
    name: str
    run_id: str
    run_name: str
    span: Node


@dataclass
class _Followed:
    """How far one table has been read, and which of its rows can still change."""

    last: int = 0
    watched: dict[int, str] = field(default_factory=dict)


def _a_number(_: click.Context, __: click.Parameter, seconds: float) -> float:
    if math.isnan(seconds):  # it compares with nothing, so no range keeps it out
        raise click.BadParameter("nan is no number of seconds")
    return seconds


@main.command()
@click.option(
    "--interval",
    type=click.FloatRange(min=0.05, max=3600),
    callback=_a_number,
    default=1.0,
    show_default=True,
    help="Seconds between looks.",
)
@common_options
@pass_settings
def tail(settings: Settings, interval: float) -> None:
    """Follow a file: one line per event, as it happens.

    Runs that begin and end, and model and tool calls that end. Times are UTC. Ctrl-C ends it, with exit code
    0. With --json each event is one line: the span as in `show --json`, with `event` and `run_name`.
    """
    screen = console()
    try:
        for event in _events(settings, interval):
            if settings.json:
                write_json_line(_document(event))
            else:
                _print(screen, event)
    except KeyboardInterrupt:
        return


def _events(settings: Settings, interval: float) -> Iterator[_Event]:
    """What happens from now on; in a file that is not there yet, everything."""
    followed: dict[str, _Followed] | None = None
    said = False
    unreadable_since: float | None = None
    while True:
        if not settings.path.exists():
            if not said:
                click.echo(f"waiting for {clean(settings.path)}", err=True)
            followed, said = _from_the_start(), True
        else:
            try:
                with Reader(settings.path) as reader:
                    followed = followed or _from_now(reader)
                    news = _news(reader, followed)
                unreadable_since = None
            except StoreError:
                unreadable_since = unreadable_since or time.monotonic()
                if not said or time.monotonic() - unreadable_since > _PATIENCE_S:
                    raise
                news = []
            yield from news
        time.sleep(interval)


def _from_the_start() -> dict[str, _Followed]:
    return {table: _Followed() for table in _TABLES}


def _from_now(reader: Reader) -> dict[str, _Followed]:
    return {table: _Followed(reader.last_row(table), reader.open_rows(table)) for table in _TABLES}


def _news(reader: Reader, followed: dict[str, _Followed]) -> list[_Event]:
    """What happened since the last look, in the order in which it happened."""
    names: dict[str, str] = {}
    events: list[_Event] = []
    for table, rows in _rows_of_one_moment(reader, followed).items():
        place = followed[table]
        for row in rows:
            run_id = row["id"] if table == "runs" else row["run_id"]
            if run_id not in names:
                names[run_id] = _run_name(reader, run_id)
            span = _span(reader, table, row)
            events += [
                _Event(at, what, run_id, names[run_id], span) for at, what in _changes(place, row, table)
            ]
    return sorted(events, key=lambda event: (event.at, event.name in _ENDS))


def _rows_of_one_moment(reader: Reader, followed: dict[str, _Followed]) -> dict[str, list[Row]]:
    """What was added or may have changed. Read again if someone wrote meanwhile: a call whose run was not there
    yet when the runs were read would seem to come before it."""
    while True:
        version = _version(reader)
        for table, place in followed.items():
            place.last = min(place.last, reader.last_row(table))  # rows may have been deleted
        rows = {
            table: reader.rows_since(table, place.last, list(place.watched))
            for table, place in followed.items()
        }
        if _version(reader) == version:
            return rows


def _version(reader: Reader) -> int:
    """Another number whenever another connection has written."""
    return int(next(reader.query("pragma data_version"))["data_version"])


def _span(reader: Reader, table: str, row: Row) -> Node:
    """A run with the sums of its calls, a call as it is."""
    return read_tree(reader, row["id"]) if table == "runs" else node(_CALLS[table], row)


def _changes(place: _Followed, row: Row, table: str) -> Iterator[tuple[int, str]]:
    """What a row says that it did not say before: when, and which event that is."""
    number, status = row["row"], row["status"]
    known = place.watched.pop(number, None)
    place.last = max(place.last, number)
    if status in ("running", "waiting"):
        place.watched[number] = status
    yield from _run_changes(row, known) if table == "runs" else _call_changes(row, known, table[:-1])


def _run_changes(row: Row, known: str | None) -> Iterator[tuple[int, str]]:
    status = row["status"]
    if known is None:
        yield row["started_at"], "run_started"
    elif (known, status) == ("waiting", "running"):
        yield time.time_ns() // 1_000, "run_resumed"
    if status not in ("running", known):
        yield row["ended_at"] or row["started_at"], "run_waiting" if status == "waiting" else "run_ended"


def _call_changes(row: Row, known: str | None, name: str) -> Iterator[tuple[int, str]]:
    if row["status"] not in ("running", known):
        yield row["ended_at"] or row["started_at"], name


def _run_name(reader: Reader, run_id: str) -> str:
    found = reader.query("select name from runs where id = ?", [run_id])
    return next((row["name"] for row in found), "?")


def _document(event: _Event) -> Document:
    return {
        "event": event.name,
        "at": figures.iso(event.at),
        "run_id": event.run_id,
        "run_name": event.run_name,
        **node_document(event.span),
    }


def _print(screen: Console, event: _Event) -> None:
    when = figures.moment(event.at, "%H:%M:%S")
    prefix = Text.assemble((f"{when} {event.run_id[-SHORT_ID:]} ", "dim"))
    screen.print(prefix + _line(event), no_wrap=True, overflow="ellipsis", crop=True)


def _line(event: _Event) -> Text:
    span = event.span
    if event.name in ("run_started", "run_resumed"):
        what = "started" if event.name == "run_started" else "goes on"
        return Text.assemble("run ", (clean(event.run_name), "bold"), f" {what}")
    if isinstance(span, RunNode):
        return Text("run ") + lines.run_line(span)
    error = lines.error_line(span)
    line = lines.line(span) + Text(f" · {clean(event.run_name)}", style="dim")
    return line if error is None else line + Text(" · ") + error
