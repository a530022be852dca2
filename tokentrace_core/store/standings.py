"""How shared limits stand, and who was stopped: read from the file, for people.

The ledger knows whose a limit is only as a hash. Names come from the runs in the file; who is not in them any more,
because they were deleted, has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokentrace_core.store.lease import dead
from tokentrace_core.store.ledger import subject_hash
from tokentrace_core.store.reader import Reader, Row

#: Where the name of each scope's subject stands in a run.
_NAMES = {"user_day_usd": "user_id", "session_usd": "session_id", "project_month_usd": "project"}


class Shared(NamedTuple):
    """One shared limit, in nano-dollars."""

    scope: str
    whose: str | None
    """None: of somebody who was deleted. Empty: of all who have no name."""
    period: str
    limit: int | None
    """As a process set it last; None if none has since."""
    spent: int
    reserved: int

    @property
    def used(self) -> float:
        """The part that is spent or set aside."""
        return (self.spent + self.reserved) / self.limit if self.limit else 0.0


def shared_limits(reader: Reader, periods: tuple[str, ...] | None) -> list[Shared]:
    """Every shared limit of these periods (None: of all), the nearest to its end first."""
    if not reader.has_table("budget_ledger"):  # a file of an earlier version
        return []
    names = dict(_names(reader))
    alive = f"not {dead('r.writer_id')}"
    rows = reader.query(
        f"""
        select l.*, (select coalesce(sum(r.nano_usd), 0) from reservations r
                     where r.scope = l.scope and r.subject = l.subject and r.period = l.period and {alive}) as reserved
        from budget_ledger l
        """
    )
    found = [
        Shared(
            row["scope"],
            names.get((row["scope"], row["subject"])),
            row["period"],
            row["limit_nano_usd"],
            row["spent_nano_usd"],
            row["reserved"],
        )
        for row in rows
        if periods is None or row["period"] in periods
    ]
    return sorted(found, key=lambda shared: (-shared.used, shared.scope, shared.whose or ""))


def stopped_runs(reader: Reader, limit: int) -> list[Row]:
    """The latest refused calls: {run_id, run_name, user_id, model, error, at, scope, attempts}, newest first."""
    return list(
        reader.query(
            """
            select c.run_id, r.name as run_name, r.user_id, c.model, c.error, c.started_at as at,
                   json_extract(c.attributes, '$.budget_scope') as scope,
                   coalesce(json_extract(c.attributes, '$.attempts'), 1) as attempts
            from llm_calls c join runs r on r.id = c.run_id
            where c.status = 'refused' order by c.started_at desc limit ?
            """,
            [limit],
        )
    )


def _names(reader: Reader) -> Iterator[tuple[tuple[str, str], str]]:
    """From (scope, hash) to the name, for all who are in the file."""
    [key] = [row["value"] for row in reader.query("select value from settings where name = 'ledger_key'")]
    for scope, column in _NAMES.items():
        for row in reader.query(f"select distinct coalesce({column}, '') as name from runs"):
            yield (scope, subject_hash(key, scope, row["name"])), row["name"]
