"""`tokentrace rekey`: encrypt the file, give it another key, or none."""

from __future__ import annotations

import os

import click

from tokentrace_core.cli import main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import write_json
from tokentrace_core.cli.text import clean
from tokentrace_core.store.connection import KEY_VARIABLE
from tokentrace_core.store.rekey import rekey as give_key

NEW_KEY_VARIABLE = "TOKENTRACE_NEW_KEY"


@main.command()
@click.option("--remove", is_flag=True, help="Take the key away: the file is not encrypted any more.")
@common_options
@pass_settings
def rekey(settings: Settings, remove: bool) -> None:
    """Encrypt the file, give it another key, or none.

    The key that it has is that of TOKENTRACE_KEY; the new one that of TOKENTRACE_NEW_KEY, else it is asked for. Never an
    argument: those can be seen by all on this machine. Nobody else may have the file open. If this is killed, the file has one
    of the two keys. Backups keep the key that they were made with. A key that is lost is lost with all that it locks.
    """
    new = None if remove else os.environ.get(NEW_KEY_VARIABLE) or _asked()
    give_key(settings.path, new)
    if settings.json:
        write_json({"file": str(settings.path), "encrypted": new is not None})
    elif new is None:
        click.echo(f"{clean(settings.path)} is not encrypted any more; unset {KEY_VARIABLE}.")
    else:
        click.echo(f"{clean(settings.path)} has the new key; set {KEY_VARIABLE} to it.")


def _asked() -> str:
    key: str = click.prompt("New key", hide_input=True, confirmation_prompt=True, err=True)
    return key
