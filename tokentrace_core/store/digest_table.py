"""The table of what the runs of a day add up to, which the file itself empties when a run of that day changes.

A digest is made by who asks (`store.digests`), never by who writes. Whoever adds, changes or deletes a run, with whatever
program, takes the digests of its day away in the same transaction: so none is ever of a state that is no more.

Migration m011. Released, so never changed.
"""

from __future__ import annotations

DAY_US = 86_400_000_000
#: The columns of a run that a digest may rest on; all of them are the run's own, and those of its rows are in its synopsis.
RESTS_ON = (
    "started_at", "ended_at", "waiting_ms", "status", "error_type", "name", "project", "framework", "task_type",
    "agent_version", "environment", "tags", "synopsis", "expired",
)  # fmt: skip


def day_of(moment: str) -> str:
    """SQL: the day since the epoch, UTC, of a time in microseconds; also of one before the epoch."""
    return f"({moment} / {DAY_US} - ({moment} % {DAY_US} < 0))"


def _forget(row: str) -> str:
    return f"begin delete from day_digests where day = {day_of(f'{row}.started_at')}; end"


DAY_DIGESTS = (
    # Being made, if there is a `claim`; without a body: not worth one. `first`, `last`: when what is in it was spent.
    "create table day_digests (day integer not null, kind text not null, claim text, first integer, last integer,"
    " body blob, primary key (day, kind))",
    f"create trigger a_new_run_changes_its_day after insert on runs {_forget('new')}",
    f"create trigger a_run_changes_its_day after update of {', '.join(RESTS_ON)} on runs {_forget('old')}",
    # Apart, since hardly any run does that: a writer pays for each row that a trigger looks for.
    "create trigger a_run_changes_its_new_day after update of started_at on runs"
    f" when new.started_at is not old.started_at {_forget('new')}",
    f"create trigger a_run_that_goes_changes_its_day after delete on runs {_forget('old')}",
)
