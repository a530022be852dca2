"""`tokentrace import`: lines into a trace file."""
# ruff: noqa: N999 - a command's module has its name

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import LogError
from tokentrace_core.logs.reading import lines_of
from tokentrace_core.store.importing import Import


@main.command(name="import")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False)
)
@common_options
@pass_settings
def import_(settings: Settings, files: tuple[Path, ...]) -> None:
    """JSON lines into a trace file; parts of one run are put together.

    FILE was written by `Tracer("traces.jsonl")` or `tokentrace export`, and may be gzipped. It may be imported again, and
    files in any order: what is there already is brought up to date. Lines that are no rows are counted and skipped. Only
    import what you trust: lines come in as they are, redacted by who wrote them.
    """
    taken = Import(settings.path)
    cut: list[Path] = []
    taken.take(line for path in files for line in _lines(path, cut))
    broken = taken.broken + len(cut)
    if settings.json:
        write_json({"rows": dict(taken.rows), "broken": broken, "purged": taken.purged})
        return
    # A run has a line for each of its states: how many runs that is, `tokentrace runs` tells.
    click.echo(f"{clean(settings.path)}: {figures.count(taken.rows.total(), 'line')} taken in.")
    if broken:
        click.echo(f"{figures.count(broken, 'broken line')} skipped.")
    if taken.purged:
        click.echo(f"{figures.count(taken.purged, 'row')} of somebody who was purged skipped.")


def _lines(path: Path, cut: list[Path]) -> Iterator[bytes]:
    try:
        yield from lines_of(path)
    except EOFError:
        cut.append(path)
    except LogError as error:
        raise click.ClickException(clean(str(error))) from error
