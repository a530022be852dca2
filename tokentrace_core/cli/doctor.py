"""`tokentrace doctor`: facts about the file and the environment, and whether any of them is wrong.

A check is a fact with a verdict: `ok`, `warn` (worth knowing, exit code 0) or `fail` (exit code 1). Frameworks
are looked up by their metadata and never imported.
"""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from tokentrace_core.cli import main
from tokentrace_core.cli.checks import Check, check_environment, check_file
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.text import clean

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
        console().print(_table(checks))
    context.exit(1 if failed else 0)


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        symbol, style = _SYMBOLS[check.verdict]
        said = Text(clean(check.value))
        if check.advice:
            said.append(f"\n{clean(check.advice)}", style=style)
        table.add_row(Text(symbol, style=style), Text(clean(check.name)), said)
    return table
