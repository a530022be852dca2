"""Everything of one user goes, and it is proved: `tokentrace purge --user U`.

Rows first, in short transactions, so that others may write meanwhile; then the bytes: what was deleted is overwritten,
the log is emptied, the file is packed anew, and so in every backup that the file knows of. Then the raw files are searched
for the user's name and for the ids of their runs and sessions. A purge that is killed is ended by the next one;
what it has to find again until then stands beside the file (`purge_journal`).

Two things stay: what was spent today of shared limits and the note in the audit log, both under keyed hashes. Other people's
messages may speak of the user; which rows do is said.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from pathlib import Path

from tokentrace_core.errors import StoreError
from tokentrace_core.snapshot import snapshot
from tokentrace_core.store import audit
from tokentrace_core.store.connection import key_of
from tokentrace_core.store.pieces import Progress, Tell, do_all
from tokentrace_core.store.purge_journal import Done, Journal
from tokentrace_core.store.purge_logs import blank
from tokentrace_core.store.purge_proof import Purged, copies_of, prove
from tokentrace_core.store.subjects import Subjects
from tokentrace_core.store.trace_file import transaction
from tokentrace_core.store.upkeep import opened
from tokentrace_core.store.user_rows import UserRows

_CHECKPOINT_S = 60.0


def count(path: Path, user: str) -> dict[str, int]:
    """What there is of a user, by table; nothing is changed."""
    with opened(path) as connection:
        return UserRows(connection, str(snapshot(user))).count()


def begun(path: Path) -> str | None:
    """Whose purge was begun and not ended; None if there is none."""
    unfinished = Journal(path).begun()
    return unfinished.user if unfinished else None


def purge(path: Path, user: str, tell: Tell = lambda _: None) -> Purged:
    """Delete everything of a user, overwrite it, and look whether it is gone. A purge that was begun is ended first."""
    unfinished = begun(path)
    if unfinished is not None and unfinished != user:
        _purge(path, unfinished, tell)
    user = str(snapshot(user))
    if unfinished is None and not _is_known(path, user):
        nothing = Purged(user, encrypted=key_of(path) is not None)
        prove(path, user, nothing, tell)
        if not nothing.left and not nothing.in_logs:
            with opened(path) as connection, transaction(connection):
                audit.note(connection, "purge", of=("user", user), rows={})
            return nothing
    return _purge(path, user, tell)


def reapply(path: Path, tell: Tell = lambda _: None) -> Counter[str]:
    """Delete again what was purged after this file, a backup that was put back, had been made. Rows by table."""
    deleted: Counter[str] = Counter()
    with opened(path) as connection:
        subjects = Subjects.of(connection)
        done = {purged.user_hash: purged.at for purged in Journal(path).done()}
        if not done:
            return deleted
        users = connection.execute(
            "select user_id from runs where user_id is not null union select user_id from sessions where user_id is not null"
        ).fetchall()
        for (user,) in users:
            at = done.get(subjects.hash("user", user))
            if at is not None:
                rows = UserRows(connection, user, until=at)
                do_all(connection, rows.delete(lambda *_: None), tell)
                deleted += rows.deleted
        if deleted:
            with transaction(connection):
                audit.note(connection, "purge re-applied", rows=deleted.total())
            _wipe(connection, path, tell)
    return deleted


def _purge(path: Path, user: str, tell: Tell) -> Purged:
    began = time.monotonic()
    result = Purged(user, encrypted=key_of(path) is not None)
    journal = Journal(path)
    result.resumed = journal.begun() is not None
    if not result.resumed:
        journal.begin(user)
    with opened(path) as connection:
        copies = copies_of(connection)
        _delete_rows(connection, user, journal, result, tell)
        done = Done(Subjects.of(connection).hash("user", user), time.time_ns() // 1_000)
        _wipe(connection, path, tell)
    journal.note(done)
    for copy in copies["backup"]:
        try:
            with opened(copy) as connection:
                _delete_rows(connection, user, journal, result, tell)
                _wipe(connection, copy, tell)
        except StoreError as error:  # it has another key, or is damaged: the others go on
            result.closed[str(copy)] = str(error)
    for log in copies["log"]:
        _blank_log(log, user, journal, result)
    prove(path, user, result, tell)
    result.seconds = time.monotonic() - began
    with opened(path) as connection, transaction(connection):
        left = len(result.left)
        audit.note(
            connection, "purge", of=("user", user), rows=dict(result.deleted), files_with_bytes_left=left
        )
    if not result.left:
        journal.end()
    return result


def _is_known(path: Path, user: str) -> bool:
    """Whether there are rows of the user, in the file or in a backup."""
    with opened(path) as connection:
        backups = copies_of(connection)["backup"]
        return any(UserRows(connection, user).count().values()) or any(
            _may_have(backup, user) for backup in backups
        )


def _may_have(backup: Path, user: str) -> bool:
    try:
        return any(count(backup, user).values())
    except StoreError:  # nobody can tell
        return True


def _blank_log(log: Path, user: str, journal: Journal, result: Purged) -> None:
    begun = journal.begun()
    runs, sessions = (begun.runs, begun.sessions) if begun else ([], [])
    try:
        lines = blank(log, {"trace_id": {*runs}, "session": {*sessions}, "user": {user}})
    except OSError as error:
        result.closed[str(log)] = str(error)
    else:
        result.deleted["log lines"] += lines


def _delete_rows(
    connection: sqlite3.Connection, user: str, journal: Journal, result: Purged, tell: Tell
) -> None:
    rows = UserRows(connection, user, until=time.time_ns() // 1_000)
    do_all(connection, rows.delete(journal.add), tell)
    if not rows.deleted["runs"] and not rows.deleted["sessions"]:
        rows.deleted.clear()  # nothing of theirs; texts that a killed process had left are no answer
    result.deleted += rows.deleted


def _wipe(connection: sqlite3.Connection, path: Path, tell: Tell) -> None:
    """Overwrite what was deleted: pack the file anew and empty its log."""
    tell(Progress("packing the file", 0, 1))
    try:
        connection.execute("vacuum")
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"the rows are gone from {path}, but their bytes could not be overwritten ({error}). "
            "Make room or wait for who uses the file, and run the same command again."
        ) from error
    patience = time.monotonic() + _CHECKPOINT_S
    while connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]:
        if time.monotonic() > patience:
            raise StoreError(
                f"the rows are gone from {path}, but their bytes are still in its log, because somebody reads "
                "the file without end. End that, and run the same command again."
            )
        time.sleep(0.2)
    tell(Progress("packing the file", 1, 1))
