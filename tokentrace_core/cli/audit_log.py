"""`tokentrace audit-log`: who read, exported, purged or changed what."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.text import Text

from tokentrace_core.cli import figures, main
from tokentrace_core.cli.options import Settings, common_options, pass_settings, since_option
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.errors import StoreError
from tokentrace_core.redact import Redactor
from tokentrace_core.store.reader import Reader, Row
from tokentrace_core.store.subjects import Subjects, read_key

_COLUMNS = (
    Column("when (UTC)"),
    Column("who"),
    Column("what"),
    Column("of", flexible=True),
    Column("figures", flexible=True),
)
_KINDS = {"user": "user_id", "run": "id"}


@main.command("audit-log")
@click.option(
    "--user", metavar="ID", help="Only what was done with this user and their runs; also if they were purged."
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@since_option
@common_options
@pass_settings
def audit_log(settings: Settings, user: str | None, limit: int, since: int | None) -> None:
    """Who read, exported, purged or changed what.

    Reads of messages by `show --messages`, exports, backups, purges, retention, keys and prices. The log holds no names but
    keyed hashes, which are shown as names as long as the file has these; with --user also for one who was purged.
    """
    with Reader(settings.path) as reader:
        if not reader.has_table("audit_log"):
            raise StoreError(
                f"{reader.path} is of a version without an audit log; the next to write to it makes one."
            )
        subjects = Subjects(read_key(reader.query))
        mine = None if user is None else _of_user(reader, subjects, user)
        rows = list(
            reader.query(
                "select * from audit_log where at >= :since"
                " and (:mine is null or subject in (select value from json_each(:mine)))"
                " order by id desc limit :limit",
                {
                    "since": since or 0,
                    "mine": None if mine is None else json.dumps(list(mine)),
                    "limit": limit,
                },
            )
        )
        names = {**(_names(reader, subjects) if rows else {}), **(mine or {})}
    if settings.json:
        write_json({"entries": [_document(row, names) for row in rows]})
        return
    print_table(console(), _COLUMNS, [_cells(row, names) for row in rows])


def _of_user(reader: Reader, subjects: Subjects, user: str) -> dict[str, str]:
    """By the hash, what is this user's: their name, as it is and as it is recorded if it is private, and their runs."""
    hashed = Redactor().pseudonym(user)
    runs = reader.query("select id from runs where user_id in (?, ?)", [user, hashed])
    return {
        **{f"user {subjects.hash('user', name)}": user for name in (user, hashed)},
        **{f"run {subjects.hash('run', row['id'])}": row["id"] for row in runs},
    }


def _names(reader: Reader, subjects: Subjects) -> dict[str, str]:
    """By the hash, the users and runs that are in the file."""
    return {
        f"{kind} {subjects.hash(kind, row['name'])}": row["name"]
        for kind, column in _KINDS.items()
        for row in reader.query(f"select distinct {column} as name from runs where {column} is not null")
    }


def _document(row: Row, names: dict[str, str]) -> dict[str, Any]:
    kind = (row["subject"] or "").partition(" ")[0]
    return {
        "at": figures.iso(row["at"]),
        "actor": row["actor"],
        "action": row["action"],
        "subject_kind": kind or None,
        "subject": names.get(row["subject"] or ""),
        "subject_hash": (row["subject"] or "").partition(" ")[2] or None,
        "figures": json.loads(row["detail"] or "{}"),
    }


def _cells(row: Row, names: dict[str, str]) -> list[Text]:
    entry = _document(row, names)
    of = f"{entry['subject_kind']} {entry['subject'] or '(deleted)'}" if entry["subject_kind"] else ""
    said = ", ".join(_said(name, value) for name, value in entry["figures"].items())
    return [
        Text(clean(cell))
        for cell in (figures.moment(row["at"]), row["actor"] or "?", row["action"], of, said)
    ]


def _said(name: str, value: Any) -> str:
    """A figure by its name; of several figures each by its own."""
    if isinstance(value, dict):
        return ", ".join(_said(part, number) for part, number in value.items()) or f"{name} none"
    return f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
