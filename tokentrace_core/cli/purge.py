"""`tokentrace purge`: everything of one user is deleted, overwritten, and looked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.progress import progress
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import StoreError
from tokentrace_core.redact import Redactor
from tokentrace_core.store import purge as store
from tokentrace_core.store.purge_proof import Purged


@main.command()
@click.option(
    "--user",
    metavar="ID",
    help="Whose data: the user_id of their runs. Left out: end a purge that was begun.",
)
@click.option("--yes", is_flag=True, help="Do it. Without, only what there is is counted.")
@common_options
@pass_settings
@click.pass_context
def purge(context: click.Context, settings: Settings, user: str | None, yes: bool) -> None:
    """Delete everything of one user, and prove that it is gone.

    Runs with their steps, calls and scores, sessions, and all messages that nobody else has sent, from the file and from
    the backups that it knows of; then the freed bytes are overwritten, and the raw files searched for the user's
    name and the ids of their runs. What others wrote of the user stays, and is counted. Without --yes nothing is changed.

    Others may write meanwhile, but not while the file is packed anew, which takes some 20 seconds per GB: what is
    recorded then waits in memory, and calls under a shared limit are refused. It needs as much room again as the file.

    Exit code 1: there was nothing of this user, or bytes are left (it says where). A purge that was cut off is ended
    by the next one: purge --yes.
    """
    begun = store.begun(settings.path)
    whose = user or begun
    if whose is None:
        raise click.UsageError("say whose data with --user; no purge was begun that could be ended.")
    if not yes:
        _count(settings, whose, begun)
        return
    with progress(settings) as tell:
        done = store.purge(settings.path, whose, tell)
        if hashed := _hashed(settings.path, whose):
            done.add(store.purge(settings.path, hashed, tell))
    if settings.json:
        write_json(_document(done))
    else:
        _print(done)
    context.exit(0 if (done.found or done.resumed) and not done.left else 1)


def _hashed(path: Path, user: str) -> str | None:
    """The keyed hash under which a tracer with `fields={"user_id": "hash"}` has recorded the user, if one has."""
    hashed = Redactor().pseudonym(user)
    return hashed if any(store.count(path, hashed).values()) else None


def _count(settings: Settings, user: str, begun: str | None) -> None:
    counts = Counter(store.count(settings.path, user))
    if hashed := _hashed(settings.path, user):
        counts += Counter(store.count(settings.path, hashed))
    if settings.json:
        write_json({"user": user, "dry_run": True, "rows": counts, "begun": begun})
        return
    if begun is not None:
        click.echo(f"a purge of {clean(begun)} was begun and not ended: it is ended first, with --yes.")
    if not any(counts.values()):
        raise StoreError(f"there is nothing of user {user!r} in {settings.path}.")
    _say(f"of user {clean(user)}: {_listed(counts)}, and the messages that nobody else has sent.")
    _say("Nothing was changed. Add --yes to delete it for good.")


def _document(done: Purged) -> dict[str, Any]:
    return {
        "user": done.user,
        "dry_run": False,
        "found": done.found,
        "rows": dict(done.deleted),
        "raw_hits": done.hits,
        "rows_of_others_that_mention_it": done.mentions,
        "files_with_bytes_left": done.left,
        "files_that_could_not_be_opened": done.closed,
        "resumed": done.resumed,
        "encrypted": done.encrypted,
        "seconds": round(done.seconds, 3),
    }


def _print(done: Purged) -> None:
    if done.found:
        _say(f"deleted of user {clean(done.user)}: {_listed(done.deleted)}, in {done.seconds:.1f} s.")
    elif done.resumed:
        _say(
            f"the purge of user {clean(done.user)} that was begun {'goes on' if done.left else 'is ended'}: no row is left."
        )
    else:
        _say(f"there was nothing of user {clean(done.user)}; nothing was deleted.")
    searched = (
        f"{figures.count(len(done.hits), 'raw file')} searched for the name and the ids of runs and sessions"
    )
    if done.left:
        _say(f"{searched}. Bytes of theirs are left, or may be, in:")
        for path in done.left:
            _say(f"  {clean(path)}{' (could not be opened)' if path in done.closed else ''}")
        _say(
            "Such a file is a copy, a draft of a backup that was killed, a damaged one, or a backup with another key: delete "
            "it (or give it the key of this file, with tokentrace rekey), and run this again."
        )
    elif done.encrypted:
        _say(
            "The file is encrypted, so its raw bytes show nothing: the rows and the overwriting are the proof."
        )
    else:
        _say(f"{searched}: none of it is left.")
    for path, mentions in done.mentions.items():
        if done.hits.get(path):
            _say(f"The name also stands in what others wrote ({clean(path)}): {_listed(mentions)}.")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "none"


def _say(line: str) -> None:
    console().print(line, soft_wrap=True)
