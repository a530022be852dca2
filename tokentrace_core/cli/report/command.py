"""The command: from the file to the page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from tokentrace_core import __version__
from tokentrace_core.analysis.audit import audit
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spending import spending
from tokentrace_core.analysis.what_if import USUAL, what_if
from tokentrace_core.analysis.why import why
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, microseconds_of, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.prices import book_of, prices_option
from tokentrace_core.cli.report import charts, sections
from tokentrace_core.cli.report.page import Section, page
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import TokentraceError
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader

_DAYS = "30d"
_WEEK = "7d"
_DIMENSIONS = ("model", "agent", "user")


@main.command()
@click.option(
    "--html",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--before",
    metavar="DURATION",
    default=_WEEK,
    show_default=True,
    help="What `why` compares: the last such time, and the one before.",
)
@scope_options
@prices_option
@common_options
@pass_settings
def report(settings: Settings, scope: Scope, target: Path, before: str, prices: Path | None) -> None:
    """Write one page with pictures: the bill, why it changed, what was wasted, what would save most.

    A single file to send to a colleague: it fetches nothing, needs no server and has all figures as tables. Looks at the last 30
    days unless --since says otherwise. Needs the extra: pip install 'tokentrace[report]'
    """
    charts.load()
    length = microseconds_of("0s") - microseconds_of(before)
    if length <= 0:
        raise click.BadParameter(f"{before!r} is no duration. Write 24h, 7d or 4w.")
    if scope.since is None:
        scope = replace(
            scope, since=microseconds_of(_DAYS) if scope.until is None else scope.until - 30 * 86_400_000_000
        )
    with Reader(settings.path) as reader:
        found = _sections(reader, scope, length, book_of(prices))
    text = page(
        "What the agents cost",
        _about(settings.path, scope),
        found,
        f"Made by tokentrace {__version__} on {_now()} UTC.",
    )
    try:
        target.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise TokentraceError(f"{target} cannot be written: {error.strerror}") from error
    if settings.json:
        write_json(
            {
                "report": str(target),
                "bytes": len(text.encode(errors="replace")),
                "sections": [each.title for each in found],
            }
        )
    else:
        click.echo(f"Written: {clean(target)} ({figures.size(len(text.encode(errors='replace')))})")


def _sections(reader: Reader, scope: Scope, length: int, book: PriceBook) -> list[Section]:
    by_day = spending(reader, ("day", "model"), scope)
    if not by_day.total.calls:
        return [Section("What was spent", "No model call is in this time.")]
    end = scope.until if scope.until is not None else microseconds_of("0s")
    earlier, later = (
        replace(scope, since=end - 2 * length, until=end - length),
        replace(scope, since=end - length, until=end),
    )
    days = f"{length / 86_400_000_000:g} days"
    return [
        sections.by_day(by_day),
        *(sections.by_dimension(name, spending(reader, (name,), scope)) for name in _DIMENSIONS),
        *sections.changed(
            why(reader, earlier, later, names=(f"the {days} before", f"the last {days}"), book=book)
        ),
        sections.wasted(audit(reader, scope, prices=book)),
        sections.saved(what_if(reader, USUAL, scope, prices=book)),
    ]


def _about(path: Path, scope: Scope) -> str:
    since = figures.moment(scope.since or 0, "%Y-%m-%d %H:%M")
    until = "now" if scope.until is None else figures.moment(scope.until, "%Y-%m-%d %H:%M")
    only = "; ".join(f"{name} {', '.join(values)}" for name, values in scope.where.items())
    return f"{path.name}, from {since} to {until} (UTC){'; only ' + only if only else ''}."


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
