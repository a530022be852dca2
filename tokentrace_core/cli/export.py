"""`tokentrace export`: the trace as JSON lines, CSV or Parquet."""

from __future__ import annotations

from pathlib import Path

import click

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.text import clean
from tokentrace_core.store.audit import note_in
from tokentrace_core.store.reader import Reader

_STDOUT = Path("-")


@main.command()
@click.argument("destination", type=click.Path(path_type=Path))
@click.option(
    "--jsonl", "form", flag_value="jsonl", default=True, help="One file, which can be imported. Default."
)
@click.option("--csv", "form", flag_value="csv", help="A folder with one CSV file per table.")
@click.option("--parquet", "form", flag_value="parquet", help="The same in Parquet; needs pyarrow.")
@common_options
@pass_settings
def export(settings: Settings, destination: Path, form: str) -> None:
    """The trace as JSON lines, CSV or Parquet.

    DESTINATION must not exist; "-" is stdout, for JSON lines. Texts are redacted as they are in the file. The file remembers
    where the export is: a purge looks into it. JSON lines come back as they were (`tokentrace import`); in CSV,
    texts that a spreadsheet would take for a formula have a ' before them.
    """
    from tokentrace_core.store import exporting

    to_stdout = destination == _STDOUT
    if to_stdout and form != "jsonl":
        raise click.UsageError(f"--{form} makes a folder of files: name one.")
    if not to_stdout and destination.exists():
        raise click.ClickException(f"{clean(destination)} exists. Name a place where nothing is.")
    with Reader(settings.path) as reader:
        if form == "jsonl":
            rows = exporting.to_lines(reader, None if to_stdout else destination)
        else:
            rows = exporting.to_folder(reader, destination, form)
    note_in(settings.path, "export", copy=None if to_stdout else destination, rows=rows.total())
    if to_stdout:
        return
    if settings.json:
        write_json({"export": str(destination), "rows": dict(rows)})
    else:
        click.echo(f"{clean(destination)}: {figures.count(rows.total(), 'row')}.")
