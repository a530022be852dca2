"""`tokentrace budget`: how shared limits stand, and which runs were stopped."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.runs import SHORT_ID
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean, first_line
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader, Row
from tokentrace_core.store.standings import Shared, shared_limits, stopped_runs

_LIMITS = (
    Column("limit"),
    Column("of", flexible=True),
    Column("period"),
    Column("spent", numeric=True),
    Column("reserved", numeric=True),
    Column("left", numeric=True),
    Column("of", numeric=True),
    Column("used", numeric=True),
)
_STOPPED = (
    Column("run"),
    Column("stopped (UTC)"),
    Column("name", flexible=True),
    Column("user", flexible=True),
    Column("limit"),
    Column("why", flexible=True),
)


@main.command()
@click.option("--all", "everything", is_flag=True, help="Past days and months, too.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@common_options
@pass_settings
def budget(settings: Settings, everything: bool, limit: int) -> None:
    """How shared limits stand, and which runs a budget has stopped.

    Limits of a single run end with it: `tokentrace runs` shows what it cost. "reserved" is set aside for calls in
    flight. Days and months are UTC. Somebody whose data were deleted has no name here; what they spent still counts.
    """
    periods = None if everything else _now()
    with Reader(settings.path) as reader:
        limits, stopped = shared_limits(reader, periods)[:limit], stopped_runs(reader, limit)
    if settings.json:
        write_json(
            {"limits": [_document(shared) for shared in limits], "stopped": [_stop(row) for row in stopped]}
        )
        return
    _print(limits, stopped)


def _now() -> tuple[str, ...]:
    today = datetime.now(UTC)
    return "", today.strftime("%Y-%m-%d"), today.strftime("%Y-%m")


def _document(shared: Shared) -> dict[str, Any]:
    return {
        "scope": shared.scope,
        "subject": shared.whose,
        "period": shared.period or None,
        "limit": money(shared.limit),
        "spent": money(shared.spent),
        "reserved": money(shared.reserved),
        "remaining": money(None if shared.limit is None else _left(shared, shared.limit)),
        "used": round(shared.used, 6),
    }


def _stop(row: Row) -> dict[str, Any]:
    return {**row, "at": figures.iso(row["at"])}


def _print(limits: list[Shared], stopped: list[Row]) -> None:
    screen = console()
    if limits:
        print_table(screen, _LIMITS, [_cells(shared) for shared in limits])
    else:
        screen.print("No limits are shared between runs: Budget(user_day_usd=...) is one that is.")
    if stopped:
        screen.print()
        print_table(screen, _STOPPED, [_stop_cells(row) for row in stopped])
    else:
        screen.print("No run was stopped.")


def _cells(shared: Shared) -> list[Text]:
    limit = shared.limit
    known = ("-", "-", "-") if limit is None else _of(shared, limit)
    whose = "(deleted)" if shared.whose is None else clean(shared.whose) or "(none)"
    figures_of = (show_usd(shared.spent), show_usd(shared.reserved), *known)
    return [Text(cell) for cell in (shared.scope, whose, shared.period or "-", *figures_of)]


def _of(shared: Shared, limit: int) -> tuple[str, str, str]:
    return show_usd(_left(shared, limit)), show_usd(limit), f"{shared.used:.0%}"


def _left(shared: Shared, limit: int) -> int:
    return max(limit - shared.spent - shared.reserved, 0)


def _stop_cells(row: Row) -> list[Text]:
    why = first_line(row["error"]).removeprefix("budget exceeded: ").partition(" The call was not sent")[0]
    cells = (
        row["run_id"][-SHORT_ID:],
        figures.moment(row["at"]),
        clean(row["run_name"]),
        clean(row["user_id"] or figures.UNKNOWN),
        clean(row["scope"] or figures.UNKNOWN),
        clean(why),
    )
    return [Text(cell) for cell in cells]
