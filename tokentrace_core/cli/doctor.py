"""`tokentrace doctor`: facts about the file and the environment, and whether any of them is wrong.

A check is a fact with a verdict: `ok`, `warn` (worth knowing, exit code 0) or `fail` (exit code 1). Frameworks
are looked up by their metadata and never imported.
"""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokentrace_core.cli import main
from tokentrace_core.cli.checks import Check, check_environment, check_file
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.text import clean

_NAME_WIDTH = 24
_SYMBOLS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}


@main.command()
@common_options
@pass_settings
@click.pass_context
def doctor(context: click.Context, settings: Settings) -> None:
    """Is the file sound, and is this environment fit to write it?

    Exit code 1 if a check fails (✗); a warning (!) leaves it 0.
    """
    checks = [*check_environment(), *check_file(settings.path)]
    failed = any(check.verdict == "fail" for check in checks)
    if settings.json:
        write_json({"ok": not failed, "checks": [check._asdict() for check in checks]})
    else:
        screen = console()
        for check in checks:
            _print(screen, check)
    context.exit(1 if failed else 0)


def _print(screen: Console, check: Check) -> None:
    symbol, style = _SYMBOLS[check.verdict]
    screen.print(_row(Text(symbol, style=style), Text(clean(check.name)), Text(clean(check.value))))
    if check.advice:
        screen.print(_row(Text(), Text(), Text(clean(check.advice), style=style)))


def _row(symbol: Text, name: Text, value: Text) -> Table:
    """One row aligned with all others, and no wider than what it says."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(width=_NAME_WIDTH)
    grid.add_column(overflow="fold")
    grid.add_row(symbol, name, value)
    return grid
