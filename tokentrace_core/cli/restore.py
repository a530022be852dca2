"""`tokentrace restore`: a backup is put back, without what was purged since it was made."""

from __future__ import annotations

from pathlib import Path

import click

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.progress import progress
from tokentrace_core.cli.text import clean
from tokentrace_core.store.backup import restore as put_back


@main.command()
@click.argument("backup", type=click.Path(path_type=Path))
@common_options
@pass_settings
def restore(settings: Settings, backup: Path) -> None:
    """Put a backup back, without what was purged since.

    To where --db says, where no file may be. Who was purged after the backup was made is purged from it again, by
    the notes that `purge` keeps beside the file (`traces.db.purged`): keep those when you move the file away.
    """
    with progress(settings) as tell:
        deleted = put_back(backup, settings.path, tell)
    if settings.json:
        write_json({"restored": str(settings.path), "purged_again": dict(deleted)})
        return
    click.echo(f"{clean(settings.path)} is {clean(backup)} again.")
    if deleted:
        click.echo(
            f"Purged again: {figures.count(deleted['runs'], 'run')}, {figures.count(deleted['llm_calls'], 'model call')}."
        )
