"""Whether anything is left of a user who was purged: the raw bytes of every file that may have had something are searched.

The file with its log, its backups and exports, damaged files that were moved aside, and drafts of backups that were killed. What
is found may be what others wrote, so the rows that account for it are counted. A copy that cannot be opened proves nothing.
"""

from __future__ import annotations

import glob
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tokentrace_core.errors import StoreError
from tokentrace_core.store.pieces import Progress, Tell
from tokentrace_core.store.purge_journal import Journal
from tokentrace_core.store.raw_scan import Hits, scan
from tokentrace_core.store.trace_file import beside
from tokentrace_core.store.upkeep import opened
from tokentrace_core.store.user_rows import UserRows

#: A shorter name stands in many words.
_TELLING = 8
_LOG_LINES = "log lines"


@dataclass
class Purged:
    """What a purge did, and what shows it."""

    user: str
    deleted: Counter[str] = field(default_factory=Counter)
    """Rows by table, in the file and in its backups."""
    hits: Hits = field(default_factory=dict)
    """By raw file that was searched: how often the user's name, and ids of their runs and sessions, stand in it."""
    mentions: dict[str, dict[str, int]] = field(default_factory=dict)
    """What accounts for that: by file, and by table and column, the rows that speak of them, by others or since."""
    closed: dict[str, str] = field(default_factory=dict)
    """Backups that could not be opened, and why: nobody knows what is in them."""
    encrypted: bool = False
    """The raw bytes show nothing either way."""
    resumed: bool = False
    """It was begun before, and what it deleted then is not counted."""
    seconds: float = 0.0

    @property
    def found(self) -> bool:
        """Whether there was anything of this user."""
        return bool(self.deleted.total())

    def add(self, other: Purged) -> None:
        """What was purged of the same person under another name."""
        self.deleted += other.deleted
        for path, kinds in other.hits.items():
            self.hits[path] = dict(Counter(self.hits.get(path, {})) + Counter(kinds))
            self.mentions[path] = {**self.mentions.get(path, {}), **other.mentions.get(path, {})}
        self.closed |= other.closed
        self.seconds += other.seconds

    @property
    def in_logs(self) -> bool:
        """Whether log files speak of them."""
        return any(_LOG_LINES in told for told in self.mentions.values())

    @property
    def left(self) -> list[str]:
        """Files in which there are bytes of the user that no row of others accounts for, or in which nobody can look."""
        found = [path for path, kinds in self.hits.items() if kinds and not self.mentions.get(path)]
        return [*found, *(path for path in self.closed if path not in found)]


def copies_of(connection: sqlite3.Connection) -> dict[str, list[Path]]:
    """The backups and exports that were made of the file, as far as they are still where they were put.

    And drafts: what a backup was to become that was killed.
    """
    rows = [
        (kind, Path(path)) for kind, path in connection.execute("select kind, path from copies order by path")
    ]
    there = {
        of: [path for kind, path in rows if kind == of and path.exists()]
        for of in ("backup", "export", "log")
    }
    there["log"] += [
        found for kind, path in rows if kind == "log" for found in _named(path, "[0-9]*")
    ]  # rotated
    return {**there, "draft": [draft for _, path in rows for draft in _named(path, "*.part*")]}


def prove(path: Path, user: str, result: Purged, tell: Tell) -> None:
    """Look for the name and the ids in all raw files; if they are there, for rows of others that speak of them."""
    with opened(path) as connection:
        copies = copies_of(connection)
    unfinished = Journal(path).begun()
    ids = [*unfinished.runs, *unfinished.sessions] if unfinished else []
    needles = {"name": [user], "ids": [name for name in ids if len(name) >= _TELLING and user not in name]}
    ours = [path, *copies["backup"]]
    result.hits = scan(
        [
            *(each for file in ours for each in _with_its_logs(file)),
            *copies["export"],
            *copies["log"],
            *copies["draft"],
            *left_by_others(path),
        ],
        needles,
        lambda done, of: tell(Progress("searching the raw bytes", done, of)),
    )
    for log in map(str, copies["log"]):  # what was theirs is blank: the rest is of others
        if told := sum(result.hits.get(log, {}).values()):
            result.mentions[log] = {_LOG_LINES: told}
    for file in ours:
        found = {kind for each in _with_its_logs(file) for kind in result.hits.get(str(each), ())}
        if not found:
            continue
        try:
            with opened(file) as connection:
                sought = [name for kind in found for name in needles[kind]]
                mentions = UserRows(connection, user).mentions(sought)
        except StoreError:  # it is among the closed ones
            continue
        result.mentions |= {str(each): mentions for each in _with_its_logs(file)}


def _with_its_logs(path: Path) -> list[Path]:
    return [path, *(beside(path, end) for end in ("-wal", "-journal"))]


def left_by_others(path: Path) -> list[Path]:
    """Files that were moved aside for their damage, and drafts of a restored file or of one with another key."""
    return [found for end in ("corrupt-*", "*.part*", "rekey*") for found in _named(path, end)]


def _named(path: Path, end: str) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.{end}"))
