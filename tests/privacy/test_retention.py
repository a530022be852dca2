"""Retention: what is kept too long is a leak, and what goes too early, or takes a total with it, is a loss."""

from __future__ import annotations

import functools
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.privacy import big_file
from tests.privacy.big_file import hits
from tests.privacy.conftest import Command, Killed
from tokentrace_core import Retention, Tracer
from tokentrace_core.analysis.dimensions import GROUPS, NAMES, TAG
from tokentrace_core.analysis.spending import spending
from tokentrace_core.store.housekeeping import Housekeeping
from tokentrace_core.store.pieces import do_all
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.retention import Keeping
from tokentrace_core.store.trace_file import transaction
from tokentrace_core.store.upkeep import opened

Ask = Callable[..., Any]
_KEPT_DIMENSIONS = (
    *("model", "provider", "project", "environment", "framework", "task-type", "status", "run-status", "day"),
    "week",
)
_RUNS = 300


@pytest.fixture
def old_file(db: Path) -> Path:
    """300 runs of ten users over the last 120 days, oldest first."""
    big_file.make(db, runs=_RUNS, users=10, days=120)
    return db


def rows(db: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql, parameters).fetchall()


def costs(db: Path) -> dict[str, Any]:
    """What `tokentrace cost` says, by everything that a daily sum has, and in total."""
    with Reader(db) as reader:
        by = {name: spending(reader, [name]).rows for name in _KEPT_DIMENSIONS}
        # A run of several models counts as one of the first: money, tokens and calls are what has to be exact.
        plain = {name: [replace(row, runs=0) for row in found] for name, found in by.items()}
        return {
            **plain,
            "total": spending(reader).total,
            "pairs": [replace(row, runs=0) for row in spending(reader, ["day", "model"]).rows],
        }


def let_go(db: Path, now: datetime | None = None, **ages: str | None) -> None:
    with opened(db) as connection:
        do_all(connection, Keeping(connection, Retention(**ages), now).pieces())


# ── what goes, and what stays ────────────────────────────────────────────────────────────────────────────


def test_nothing_goes_unless_somebody_asks(old_file: Path, command: Command) -> None:
    before = rows(old_file, "select count(*), sum(length(body)) from messages")
    with Tracer(old_file) as tracer, tracer.run("new"):
        pass
    shown = command("retention")
    assert shown.returncode == 0, shown.stderr
    assert "Nothing was changed" in shown.stdout
    assert rows(old_file, "select count(*), sum(length(body)) from messages") == before
    assert rows(old_file, "select count(*) from runs where expired is not null") == [(0,)]


def test_s99_what_was_said_goes_after_two_days_and_no_total_changes(old_file: Path) -> None:
    before, tree = (
        costs(old_file),
        rows(old_file, "select id, parent_id, message_id from prompts order by id"),
    )
    sizes = rows(old_file, "select id, role, bytes from messages order by id")
    loops = rows(old_file, "select arguments_hash, count(*) from tool_calls group by 1 order by 1")

    let_go(old_file, payloads="48h", traces=None, summaries=None, aggregates=None)

    assert costs(old_file) == before
    assert rows(old_file, "select id, parent_id, message_id from prompts order by id") == tree
    assert rows(old_file, "select id, role, bytes from messages order by id") == sizes
    assert rows(old_file, "select arguments_hash, count(*) from tool_calls group by 1 order by 1") == loops
    horizon = (time.time() - 48 * 3600) * 1_000_000
    old = rows(old_file, "select id, input, output, error from runs where ended_at < ?", horizon)
    assert len(old) > 200
    for table, names in {
        "runs": "input, output, error", "steps": "reasoning", "tool_calls": "arguments, result", "scores": "comment",
    }.items():  # fmt: skip
        key = "id" if table == "runs" else "run_id"
        for text in rows(old_file, f"select {names} from {table} where {key} in (select value from json_each(?))",
                         json.dumps([row[0] for row in old])):  # fmt: skip
            assert all("expired: " in part and len(part) < 40 for part in text)


def test_a_message_that_a_young_run_has_sent_too_stays(old_file: Path) -> None:
    let_go(old_file)
    young = rows(old_file, "select body from messages where expired is null")
    system = [body for (body,) in young if '"system"' in body]
    assert len(system) == 1, "all runs have sent it, and young ones, too"
    assert rows(old_file, "select count(*) from messages where expired is null")[0][0] < 60


def test_arguments_that_expired_are_still_json(old_file: Path, answer: Ask) -> None:
    let_go(old_file, traces=None, summaries=None, aggregates=None)
    assert rows(old_file, "select count(*) from tool_calls where not json_valid(arguments)") == [(0,)]
    [(run,)] = rows(old_file, "select id from runs where expired = 'payloads' limit 1")
    shown = answer("show", run, "--messages")
    assert shown["expired"] == "payloads"
    assert shown["messages"][0]["new"][-1]["content"].startswith("[expired: ")


def test_s99_traces_go_after_thirty_days_and_every_cost_stays_to_the_nano_dollar(old_file: Path) -> None:
    before = costs(old_file)
    let_go(old_file)
    assert costs(old_file) == before
    left = rows(old_file, "select count(distinct run_id) from llm_calls")[0][0]
    assert 60 < left < 90, "thirty days of a hundred and twenty"
    assert rows(old_file, "select count(*) from runs")[0][0] in range(215, 235), "ninety days"
    assert rows(old_file, "select count(*) from sessions")[0][0] <= 30
    orphans = "select count(*) from {0} t left join runs r on r.id = t.run_id where r.id is null"
    for table in ("steps", "llm_calls", "tool_calls", "scores"):
        assert rows(old_file, orphans.format(table)) == [(0,)]
    dangling = "select count(*) from llm_calls c left join prompts p on p.id = c.prompt_id where p.id is null"
    assert rows(old_file, dangling) == [(0,)]
    kept = rows(old_file, "select count(*) from prompts")[0][0]
    assert kept < 90 * 10, "prompts of traces that have gone have gone"


def test_what_a_daily_sum_does_not_tell_is_said_to_be_expired(old_file: Path) -> None:
    let_go(old_file)
    with Reader(old_file) as reader:
        total = spending(reader).total.cost_nano_usd
        for name in (*(name for name in GROUPS if name not in (TAG, NAMES[-1])), "attr.x"):
            found = spending(reader, [name]).rows
            assert sum(row.cost_nano_usd for row in found) == total, name
            assert any(row.key == ("(expired)",) for row in found) == (name not in _KEPT_DIMENSIONS), name


def test_daily_sums_name_nobody_and_go_after_a_year(old_file: Path) -> None:
    let_go(old_file)
    users = {user for (user,) in rows(old_file, "select distinct user_id from runs")}
    said = json.dumps(rows(old_file, "select * from daily_costs"))
    assert not any(user in said for user in users)
    assert rows(old_file, "select count(*) from daily_costs")[0][0] > 50
    let_go(old_file, now=datetime.now(UTC) + timedelta(days=500))
    assert rows(old_file, "select count(*) from daily_costs") == [(0,)]
    assert rows(old_file, "select count(*) from runs") == [(0,)]


def test_a_run_whose_trace_has_gone_is_shown_with_its_sums(
    old_file: Path, answer: Ask, command: Command
) -> None:
    [(run, cost)] = rows(
        old_file, "select id, cost_nano_usd from runs order by started_at limit 1 offset 100"
    )
    let_go(old_file)
    shown = answer("show", run)
    assert (shown["expired"], shown["cost_nano_usd"], shown["children"]) == ("trace", cost, [])
    assert "no longer kept" in command("show", run).stdout


def test_an_age_that_makes_no_sense_deletes_nothing(old_file: Path, command: Command) -> None:
    for arguments in (
        ["--payloads", "40d"],
        ["--traces", "soon"],
        ["--payloads", "never"],
        ["--traces", "-1d"],
    ):
        assert command("retention", "--apply", *arguments).returncode == 2
    assert rows(old_file, "select count(*) from runs where expired is not null") == [(0,)]


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_set_back_by_a_year_deletes_nothing(old_file: Path) -> None:
    let_go(old_file, now=datetime.now(UTC) - timedelta(days=365))
    assert rows(old_file, "select count(*) from runs where expired is null") == [(_RUNS,)]


def test_what_was_recorded_while_the_clock_was_back_is_not_taken_for_old(old_file: Path) -> None:
    with opened(old_file) as connection:
        connection.execute(
            "update runs set started_at = started_at - 365 * 86400000000, ended_at = ended_at - 365 * 86400000000"
            " where rowid in (select rowid from runs order by rowid desc limit 3)"
        )
        connection.commit()
    let_go(old_file)
    last = rows(old_file, "select expired from runs order by rowid desc limit 3")
    assert last == [(None,)] * 3


def test_a_clock_that_jumps_while_the_process_runs_lets_nothing_go(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big_file.make(db, runs=20, users=2, days=1)
    house = Housekeeping(Retention())
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 400 * 86_400)
    with opened(db) as connection:
        house.go_on(lambda piece: piece(connection))
        assert house.due_in > 3_000
        connection.commit()
    assert rows(db, "select count(*) from runs where expired is null") == [(20,)]


def test_a_run_that_goes_on_is_never_old(db: Path) -> None:
    with Tracer(db) as tracer, tracer.run("long"):
        assert tracer.flush(10)
        let_go(db, now=datetime.now(UTC) + timedelta(days=3_000))
        assert rows(db, "select name, expired from runs") == [("long", None)]


# ── killed, concurrent, by itself ────────────────────────────────────────────────────────────────────────


def test_retention_that_is_killed_goes_on_where_it_was(
    old_file: Path, killed: Killed, command: Command
) -> None:
    before = costs(old_file)
    for after in (0.3, 0.4, 0.5):
        killed("retention", "--apply", after=after)
        assert costs(old_file) == before
    assert command("retention", "--apply").returncode == 0
    assert costs(old_file) == before
    assert rows(old_file, "select count(*) from forsaken") == [(0,)]
    assert rows(old_file, "select count(*) from messages where expired is null")[0][0] < 60
    assert rows(old_file, "select beat_at from sweeps") == [(None,)]


def test_retention_that_is_killed_with_its_last_word_unsaid_says_it_the_next_time(
    old_file: Path, command: Command
) -> None:
    """Else every writer would note each text it meets, for ever."""
    assert command("retention", "--apply").returncode == 0
    with closing(sqlite3.connect(old_file)) as connection, connection:
        connection.execute("update sweeps set beat_at = 1")
    assert command("retention", "--apply").returncode == 0
    assert rows(old_file, "select beat_at from sweeps") == [(None,)]


def test_retention_that_dies_after_any_piece_changes_no_total(old_file: Path) -> None:
    before = costs(old_file)
    done = 0
    while True:
        with opened(old_file) as connection:
            pieces = Keeping(connection, Retention()).pieces()
            with closing(connection.cursor()) as cursor:
                cursor.execute("begin immediate")
                more = next(pieces, None)
                cursor.execute("commit")
        done += 1
        assert costs(old_file) == before
        if more is None or done > 40:
            break
    let_go(old_file)
    assert costs(old_file) == before
    assert rows(old_file, "select count(*) from messages where expired is null")[0][0] < 60


def test_a_pass_goes_on_when_its_file_was_opened_anew_as_after_a_fork(old_file: Path) -> None:
    before = costs(old_file)
    house = Housekeeping(Retention())
    for pieces in (1, 3, 10, 1_000):
        with opened(old_file) as connection:
            for _ in range(pieces):
                house.go_on(functools.partial(_piece, connection))
                if house.due_in > 1:
                    break
                time.sleep(house.due_in)
    assert house.due_in > 1_000, "it came to its end"
    assert costs(old_file) == before
    assert rows(old_file, "select count(*) from forsaken") == [(0,)]
    with opened(old_file) as connection:
        assert not Keeping(connection, Retention()).due()


def _piece(connection: sqlite3.Connection, piece: Callable[[sqlite3.Connection], None]) -> None:
    with transaction(connection):
        piece(connection)


def test_a_file_that_is_locked_is_not_asked_again_at_once(db: Path) -> None:
    house = Housekeeping(Retention())
    asked = []
    for _ in range(3):
        house.go_on(lambda _: asked.append(1) or "database is locked")
    assert len(asked) == 1
    assert 0 < house.due_in < 3_000


def test_a_tracer_that_was_told_to_keeps_the_house_and_the_agent_loses_nothing(old_file: Path) -> None:
    before = costs(old_file)
    with Tracer(old_file, retention=Retention()) as tracer:
        deadline = time.monotonic() + 20
        count = 0
        while time.monotonic() < deadline:
            with tracer.run("new", user="new") as run:
                with run.llm("m", messages=[{"role": "user", "content": f"hello {count % 3}"}]) as call:
                    call.done("hi")
            count += 1
            time.sleep(0.005)
            if count % 50 == 0 and rows(
                old_file, "select beat_at is null and generation > 0 from sweeps"
            ) == [(1,)]:
                break
        assert tracer.flush(10)
        assert not tracer.losses
    assert rows(old_file, "select count(*) from runs where expired = 'trace'")[0][0] > 100
    assert rows(old_file, "select count(*) from runs where user_id = 'new'") == [(count,)]
    broken = """select count(*) from llm_calls c join runs r on r.id = c.run_id left join prompts p on p.id = c.prompt_id
        left join messages m on m.id = p.message_id
        where r.user_id = 'new' and (m.id is null or m.expired is not null)"""
    assert rows(old_file, broken) == [(0,)]
    after = costs(old_file)
    assert after["total"].cost_nano_usd == before["total"].cost_nano_usd


def test_a_text_that_had_expired_and_is_sent_again_is_there_again(db: Path) -> None:
    def ask(tracer: Tracer) -> None:
        with tracer.run("agent") as run:
            with run.llm("m", messages=[{"role": "user", "content": "the usual question"}]) as call:
                call.done("the usual answer")
        assert tracer.flush(10)

    with Tracer(db) as tracer:
        ask(tracer)
        let_go(db, now=datetime.now(UTC) + timedelta(days=10))
        assert rows(db, "select count(*) from messages where expired is null") == [(0,)]
        ask(tracer)
        assert rows(db, "select count(*) from messages where expired is null") == [(2,)]


def test_two_who_let_go_at_once_let_go_once(old_file: Path) -> None:
    before = costs(old_file)
    threads = [threading.Thread(target=lambda: _until_done(old_file)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    let_go(old_file)
    assert costs(old_file) == before
    assert rows(old_file, "select count(*) from forsaken") == [(0,)]


def _until_done(db: Path) -> None:
    from tokentrace_core.store.sweep import Overtaken

    try:
        let_go(db)
    except Overtaken:
        return


def test_what_was_let_go_is_not_in_the_bytes_of_a_file_that_is_closed(
    old_file: Path, command: Command
) -> None:
    assert hits(old_file, big_file.CANARIES)
    assert (
        command("retention", "--apply", "--payloads", "0h", "--traces", "0h", "--summaries", "0h").returncode
        == 0
    )
    assert hits(old_file, big_file.CANARIES) == {}
