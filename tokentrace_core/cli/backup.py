"""`tokentrace backup`: a copy of the file, checked, while others write."""

from __future__ import annotations

from pathlib import Path

import click

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.text import clean
from tokentrace_core.store.backup import back_up


@main.command()
@click.argument("destination", type=click.Path(path_type=Path))
@common_options
@pass_settings
def backup(settings: Settings, destination: Path) -> None:
    """A copy of the file while it is written, checked.

    DESTINATION must not exist. The copy holds what the file has, nothing that was deleted, and is encrypted if the file is.
    The file remembers where it is: a purge goes through its backups, too. Only its owner may read it.
    """
    size = back_up(settings.path, destination)
    if settings.json:
        write_json({"backup": str(destination), "bytes": size})
    else:
        click.echo(f"{clean(destination)}: {figures.size(size)}, checked.")
