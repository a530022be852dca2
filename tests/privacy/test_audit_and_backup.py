"""Who looked is written down for good; a copy has what the file has, and never what was deleted."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.privacy.big_file import CANARIES, VICTIM, hits, totals
from tests.privacy.conftest import Command
from tokentrace_core import Tracer
from tokentrace_core.store import audit

Ask = Callable[..., Any]


@pytest.fixture
def one_run(db: Path) -> str:
    with Tracer(db) as tracer, tracer.run("triage", user="ada.lovelace") as run:
        with run.llm("m", messages="where is it?") as call:
            call.done("here")
    assert run.id
    return run.id


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


# ── the audit log ────────────────────────────────────────────────────────────────────────────────────────


def test_s101_who_reads_what_was_said_is_written_down_and_who_reads_figures_is_not(
    one_run: str, command: Command, answer: Ask
) -> None:
    command("show", one_run)
    command("runs")
    assert answer("audit-log")["entries"] == []
    command("show", one_run, "--messages")
    [entry] = answer("audit-log")["entries"]
    assert (entry["action"], entry["subject_kind"], entry["subject"]) == ("read messages", "run", one_run)
    assert entry["actor"]


@pytest.mark.parametrize(
    "change",
    [
        "delete from audit_log",
        "update audit_log set actor = 'nobody'",
        "insert or replace into audit_log (id, at, action) values (1, 1, 'x')",
    ],
)
def test_s101_a_row_of_the_audit_log_can_be_neither_changed_nor_removed(
    db: Path, one_run: str, command: Command, change: str
) -> None:
    command("show", one_run, "--messages")
    before = rows(db, "select * from audit_log")
    with (
        closing(sqlite3.connect(db)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(change)
    assert rows(db, "select * from audit_log") == before


def test_s101_a_user_can_be_told_who_read_their_messages_and_who_purged_them(
    db: Path, answer: Ask, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose id is private, and recorded as its hash only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with Tracer(db) as tracer:
        for user in ("ada@example.com", "grace"):
            with tracer.run("triage", user=user) as run, run.llm("m", messages="x") as call:
                call.done("y")
            assert tracer.flush(10)
            command("show", str(run.id), "--messages")
    mine = ("--user", "ada@example.com")
    assert [entry["action"] for entry in answer("audit-log", *mine)["entries"]] == ["read messages"]
    answer("purge", *mine, "--yes")
    assert {entry["action"] for entry in answer("audit-log", *mine)["entries"]} == {"purge"}
    assert len(answer("audit-log")["entries"]) > 2


def test_the_audit_log_names_no_one_who_was_purged_but_knows_them_by_name(
    db: Path, one_run: str, command: Command, answer: Ask
) -> None:
    command("show", one_run, "--messages")
    answer("purge", "--user", "ada.lovelace", "--yes")
    assert hits(db, ["ada.lovelace", one_run]) == {}
    entries = answer("audit-log")["entries"]
    assert [entry["action"] for entry in entries] == ["purge", "read messages"]
    assert [entry["subject"] for entry in entries] == [None, None]
    assert [entry["action"] for entry in answer("audit-log", "--user", "ada.lovelace")["entries"]] == [
        "purge"
    ]
    assert answer("audit-log", "--user", "grace.hopper")["entries"] == []


def test_a_file_that_can_only_be_read_can_be_read_and_the_log_says_what_it_lacks(
    db: Path, one_run: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("drop table audit_log")
    assert audit.note_in(db, "read messages") is False
    assert "could not be noted" in caplog.text


# ── modes and backups ────────────────────────────────────────────────────────────────────────────────────


def test_s102_nobody_else_on_the_machine_can_read_the_file_or_what_lies_beside_it(
    db: Path, command: Command, tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        with Tracer(db) as tracer, tracer.run("agent"):
            assert tracer.flush(10)
            command("backup", str(tmp_path / "copy.db"))
            files = [*tmp_path.glob("traces.db*"), tmp_path / "copy.db"]
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
    finally:
        os.umask(before)
    assert {"traces.db", "traces.db-wal", "traces.db-shm", "copy.db"} <= set(modes)
    assert set(modes.values()) == {0o600}, modes


def test_a_backup_is_made_while_the_agent_works_and_is_whole(
    db: Path, command: Command, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    with Tracer(db) as tracer:
        for _ in range(20):
            with tracer.run("agent") as run, run.llm("m", messages="hello") as call:
                call.done("hi")
        with tracer.run("open"):
            assert tracer.flush(10)
            done = command("backup", str(copy))
    assert done.returncode == 0, done.stderr
    assert rows(copy, "select count(*) from runs") == [(21,)]
    assert rows(copy, "pragma integrity_check") == [("ok",)]
    assert not list(tmp_path.glob("*.part*"))


def test_a_backup_never_writes_over_anything(many_users: Path, command: Command, tmp_path: Path) -> None:
    precious = tmp_path / "precious.db"
    precious.write_text("mine")
    done = command("backup", str(precious))
    assert done.returncode == 1
    assert "already" in done.stderr
    assert precious.read_text() == "mine"
    assert command("backup", str(tmp_path / "no" / "such" / "folder.db")).returncode == 1


def test_a_backup_holds_nothing_that_was_deleted(many_users: Path, command: Command, tmp_path: Path) -> None:
    with closing(sqlite3.connect(many_users)) as connection:
        connection.execute("delete from messages where body like '%canary%'")
        for table in ("steps", "tool_calls", "scores", "runs", "sessions"):
            connection.execute(f"delete from {table}")
        connection.commit()
    copy = tmp_path / "elsewhere" / "copy.db"
    copy.parent.mkdir()
    assert command("backup", str(copy)).returncode == 0
    assert hits(copy, CANARIES) == {}


def test_d3_a_purge_goes_through_the_backups_that_the_file_knows_of(
    many_users: Path, command: Command, answer: Ask, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    command("backup", str(copy))
    before = totals(copy)
    done = answer("purge", "--user", VICTIM, "--yes")
    assert done["rows"]["runs"] == 40, "twenty in each"
    assert hits(copy, [*CANARIES, VICTIM]) == {}
    assert totals(copy) == before == totals(many_users)


def test_d3_a_backup_that_is_put_back_loses_again_who_was_purged_since(
    many_users: Path, command: Command, answer: Ask, tmp_path: Path
) -> None:
    copy, away = tmp_path / "copy.db", tmp_path / "vault" / "copy.db"
    command("backup", str(copy))
    away.parent.mkdir()
    copy.rename(away)  # the purge cannot find it there
    before = totals(many_users)
    answer("purge", "--user", VICTIM, "--yes")
    assert hits(away, CANARIES)

    assert command("restore", str(away)).returncode == 1, "nothing is overwritten"
    for file in tmp_path.glob("traces.db*"):
        if not file.name.endswith(".purged"):
            file.unlink()
    done = answer("restore", str(away))

    assert done["purged_again"]["runs"] == 20
    assert hits(many_users, [*CANARIES, VICTIM]) == {}
    assert totals(many_users) == before
    assert [entry["action"] for entry in answer("audit-log")["entries"]][:2] == [
        "restore",
        "purge re-applied",
    ]


def test_d3_a_user_who_came_back_after_their_purge_keeps_what_is_new(
    db: Path, one_run: str, command: Command, answer: Ask, tmp_path: Path
) -> None:
    answer("purge", "--user", "ada.lovelace", "--yes")
    with Tracer(db) as tracer, tracer.run("again", user="ada.lovelace"):
        pass
    copy = tmp_path / "vault.db"
    command("backup", str(copy))
    for file in tmp_path.glob("traces.db*"):
        if not file.name.endswith(".purged"):
            file.unlink()
    answer("restore", str(copy))
    assert rows(db, "select name, user_id from runs") == [("again", "ada.lovelace")]
