"""Which rows are a user's, and away with them: runs with all below, sessions, and texts that only they had sent."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from tokentrace_core.budget import same_user
from tokentrace_core.store.ledger import subject_hash
from tokentrace_core.store.pieces import Pieces, Progress
from tokentrace_core.store.subjects import Subjects
from tokentrace_core.store.sweep import Overtaken, Sweep, as_list, forsake, has_to_be_done

_RUNS = 20
_BELOW = ("scores", "repriced_calls", "tool_calls", "llm_calls", "steps", "run_parts")
_THESE = "in (select value from json_each(:these))"

#: Told which runs and sessions are about to go.
Announce = Callable[[list[str], list[str]], None]


class UserRows:
    """The rows of one user in one file, of runs that began no later than `until` (microseconds)."""

    def __init__(self, connection: sqlite3.Connection, user: str, until: int | None = None) -> None:
        self._file = connection
        self._user = user
        self._whose = {"user": user, "until": until if until is not None else 2**62}
        self.deleted: Counter[str] = Counter()
        """Rows deleted so far, by table."""

    def count(self) -> dict[str, int]:
        """What there is, by table. Messages are not in it: which of them others need, too, is found by deleting."""
        runs = "select id from runs where user_id = :user and started_at <= :until"
        counts = {"runs": self._number(f"select count(*) from ({runs})")}
        for table in _BELOW:
            counts[table] = self._number(f"select count(*) from {table} where run_id in ({runs})")
        counts["sessions"] = self._number(
            "select count(*) from sessions where user_id = :user and started_at <= :until"
        )
        return counts

    def mentions(self, names: list[str]) -> dict[str, int]:
        """Rows, by table and column, in which one of the names stands: as a whole value, or within a text."""
        found: Counter[str] = Counter()
        tables = self._file.execute("select name from sqlite_master where type = 'table'").fetchall()
        # A short name may stand in words of the file's own, such as "ada" in "metadata".
        for (table,) in [*tables, ("sqlite_master",)]:
            for column in self._file.execute("select name from pragma_table_info(?)", [table]).fetchall():
                told = f'"{table}"."{column[0]}"'
                [count] = self._file.execute(
                    f"select count(*) from \"{table}\" where typeof({told}) = 'text' and exists"
                    f" (select 1 from json_each(?) n where instr({told}, n.value))",
                    [as_list(names)],
                ).fetchone()
                if count:
                    found[f"{table}.{column[0]}"] = count
        return dict(found)

    def delete(self, announce: Announce) -> Pieces:
        """Away with all of it. A run and what is below it go at once, and from then on nothing of it comes back."""
        if self._file.execute("select 1 from sqlite_master where name = 'purged'").fetchone() is None:
            return
        subjects = Subjects.of(self._file)
        while rows := self._file.execute(
            "select id, session_id from runs where user_id = :user and started_at <= :until", self._whose
        ).fetchall():  # again, because meanwhile there may be new ones
            for first in range(0, len(rows), _RUNS):
                self._delete_runs(subjects, rows[first : first + _RUNS], announce)
                yield Progress("runs", min(first + _RUNS, len(rows)), len(rows))
        mine = "select id from sessions where user_id = :user and started_at <= :until"
        sessions = [row[0] for row in self._file.execute(mine, self._whose)]
        announce([], self._only_theirs(sessions))
        self._delete_sessions(subjects, sessions)
        self._delete("run_parts", "user_id = :user and started_at <= :until", self._whose)
        self._delete_spent("user_day_usd", [same_user(self._user)])
        yield Progress("sessions", 1, 1)
        yield from self._delete_texts()

    # ── parts of it ──────────────────────────────────────────────────────────────────────────────────

    def _number(self, sql: str) -> int:
        return int(self._file.execute(sql, self._whose).fetchone()[0])

    def _only_theirs(self, sessions: list[str]) -> list[str]:
        """The sessions in which nobody else has a run."""
        rows = self._file.execute(
            "select value from json_each(:these) s where not exists"
            " (select 1 from runs r where r.session_id = s.value and r.user_id is not :user)"
            " and not exists (select 1 from sessions o where o.id = s.value and o.user_id != :user)",
            {"these": as_list(sessions), "user": self._user},
        )
        return [row[0] for row in rows]

    def _bar(self, subjects: Subjects, kind: str, names: list[str]) -> None:
        """Nothing of these is to be written any more. Every writer looks again, as the generation is another."""
        now = time.time_ns() // 1_000
        self._file.executemany(
            "insert or replace into purged values (?, ?)",
            [(subjects.hash(kind, name), now) for name in names],
        )
        self._file.execute("update sweeps set generation = generation + 1")

    def _delete_runs(self, subjects: Subjects, rows: list[tuple[str, str]], announce: Announce) -> None:
        runs, sessions = [run for run, _ in rows], sorted({session for _, session in rows if session})
        announce(runs, self._only_theirs(sessions))
        self._bar(subjects, "run", runs)
        these = {"these": as_list(runs)}
        forsake(self._file, these["these"], "deleted")
        repricings = self._file.execute(
            f"select distinct repricing_id from repriced_calls where run_id {_THESE}", these
        ).fetchall()
        for table in _BELOW:
            self._delete(table, f"run_id {_THESE}", these)
        self._delete(
            "repricings",
            f"id {_THESE} and not exists (select 1 from repriced_calls c where c.repricing_id = repricings.id)",
            {"these": as_list([name for (name,) in repricings])},
        )
        self._delete("runs", f"id {_THESE}", these)
        self._delete_sessions(subjects, sessions)

    def _delete_sessions(self, subjects: Subjects, sessions: list[str]) -> None:
        """Those of the user, and those of nobody in which no run is left."""
        rows = self._file.execute(
            f"select id from sessions s where id {_THESE} and (user_id = :user or user_id is null)"
            " and (user_id = :user or not exists (select 1 from runs r where r.session_id = s.id))",
            {"these": as_list(sessions), "user": self._user},
        )
        gone = [row[0] for row in rows]
        if gone:
            self._bar(subjects, "session", gone)
            self._delete("sessions", f"id {_THESE}", {"these": as_list(gone)})
            self._delete_spent("session_usd", gone)
            self._delete_spent("session_usd", gone, "reservations")

    def _delete_spent(self, scope: str, subjects: list[str], table: str = "budget_ledger") -> None:
        """What was spent of a limit of theirs. Of the day that is not over it stays, or a purge would lift the limit."""
        [key] = self._file.execute("select value from settings where name = 'ledger_key'").fetchone()
        hashes = as_list([subject_hash(key, scope, subject) for subject in subjects])
        self._delete(
            table,
            f"scope = :scope and subject {_THESE} and period < :today",
            {"scope": scope, "these": hashes, "today": time.strftime("%Y-%m-%d", time.gmtime())},
        )

    def _delete_texts(self) -> Iterator[Progress]:
        before = {table: self._number(f"select count(*) from {table}") for table in ("messages", "prompts")}
        while has_to_be_done(self._file):
            try:
                yield from Sweep(self._file).pieces()
            except Overtaken:  # by retention, which cannot tell whether it is urgent
                yield Progress("texts", 0, 1)
        for table, count in before.items():
            # Others write meanwhile, so it may seem less.
            self.deleted[table] += max(count - self._number(f"select count(*) from {table}"), 0)

    def _delete(self, table: str, where: str, parameters: Mapping[str, object]) -> None:
        self.deleted[table] += self._file.execute(f"delete from {table} where {where}", parameters).rowcount
