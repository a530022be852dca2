"""Purge: what a user loses who asked to be forgotten and was not, and what all others lose if too much goes.

The full proof (one user of a thousand in a million events), with the time it takes:

    python -m tests.privacy.prove_purge
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.privacy.big_file import CANARIES, VICTIM, hits, totals
from tests.privacy.conftest import Command, Killed
from tokentrace_core import Budget, ModelPrice, PriceBook, Redactor, Tracer
from tokentrace_core.logs import attach
from tokentrace_core.store import audit, repriced_file
from tokentrace_core.store import purge as purging
from tokentrace_core.store.purge_journal import Journal
from tokentrace_core.store.repricing import Question

Ask = Callable[..., Any]


def rows(db: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql, parameters).fetchall()


def record(tracer: Tracer, user: str, said: str, session: str | None = None) -> str:
    with tracer.run("triage", user=user, session=session, input=said) as run:
        with run.llm(
            "small", messages=[{"role": "system", "content": "be kind"}, {"role": "user", "content": said}]
        ) as call:
            call.done({"choices": [{"message": {"role": "assistant", "content": f"re: {said}"}}]})
        with run.tool("lookup", {"about": said}) as tool:
            tool.done(f"found {said}")
    assert run.id
    return run.id


@pytest.fixture
def prices() -> PriceBook:
    return PriceBook({"small": ModelPrice(input=1, output=10)})


@pytest.fixture
def two_users(db: Path, prices: PriceBook) -> Path:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada.lovelace", "where is the parcel of Ada")
        record(tracer, "grace.hopper", "where is the parcel of Grace")
    return db


# ── it is gone ───────────────────────────────────────────────────────────────────────────────────────────


def test_p24_a_user_who_is_purged_is_in_no_row_and_in_no_byte_and_nobody_else_lost_anything(
    many_users: Path, answer: Ask
) -> None:
    before = totals(many_users)
    assert hits(many_users, [*CANARIES, VICTIM]), "the canaries are there at first"
    [runs] = rows(many_users, "select count(*) from runs where user_id = ?", VICTIM)

    done = answer("purge", "--user", VICTIM, "--yes")

    assert done["rows"]["runs"] == runs[0] == 20
    assert done["rows"]["llm_calls"] == done["rows"]["tool_calls"] == done["rows"]["steps"] == 100
    assert min(done["rows"].values()) > 0
    assert {"scores", "sessions", "messages", "prompts"} < set(done["rows"])
    assert done["files_with_bytes_left"] == []
    assert hits(many_users, [*CANARIES, VICTIM]) == {}
    assert totals(many_users) == before
    assert rows(many_users, "pragma integrity_check") == [("ok",)]


def test_without_yes_nothing_is_deleted_and_it_is_said_what_would_be(
    two_users: Path, command: Command
) -> None:
    before = two_users.read_bytes()
    shown = command("purge", "--user", "ada.lovelace")
    assert shown.returncode == 0
    assert "runs 1" in shown.stdout
    assert "Nothing was changed" in shown.stdout
    assert rows(two_users, "select count(*) from runs") == [(2,)]
    assert b"parcel of Ada" in before


def test_p24_a_user_who_is_not_there_is_not_said_to_be_deleted(two_users: Path, command: Command) -> None:
    for arguments in (["purge", "--user", "nobody"], ["purge", "--user", "nobody", "--yes"]):
        shown = command(*arguments)
        assert shown.returncode == 1
        assert "nothing of user" in shown.stdout + shown.stderr
    assert rows(two_users, "select count(*) from runs") == [(2,)]


def test_a_message_that_others_have_sent_too_stays_for_them(two_users: Path, answer: Ask) -> None:
    answer("purge", "--user", "ada.lovelace", "--yes")
    left = [json.loads(body)["content"] for (body,) in rows(two_users, "select body from messages")]
    assert sorted(left) == ["be kind", "re: where is the parcel of Grace", "where is the parcel of Grace"]
    dangling = "select count(*) from prompts p left join messages m on m.id = p.message_id where m.id is null"
    assert rows(two_users, dangling) == [(0,)]


def test_what_others_wrote_of_the_user_stays_and_is_told(db: Path, prices: PriceBook, answer: Ask) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada.lovelace", "hello")
        record(tracer, "grace.hopper", "please greet ada.lovelace of me")
    done = answer("purge", "--user", "ada.lovelace", "--yes")
    assert done["files_with_bytes_left"] == []
    told = done["rows_of_others_that_mention_it"][str(db)]
    assert told["messages.body"] == 2
    assert rows(db, "select user_id from runs") == [("grace.hopper",)]


def test_a_user_with_a_name_like_any_word_is_deleted_and_nobody_else(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices) as tracer:
        for user in ("1", "10", "11", "%", "'; drop table runs; --", "ünïcode \u202e"):
            record(tracer, user, f"said by {user}")
    for user in ("1", "%", "'; drop table runs; --", "ünïcode \u202e"):
        assert answer("purge", "--user", user, "--yes")["rows"]["runs"] == 1
    assert rows(db, "select user_id from runs order by 1") == [("10",), ("11",)]


def test_a_name_that_stands_in_words_of_the_file_itself_is_no_false_alarm(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada", "hello")
        record(tracer, "grace.hopper", "good morning")
    done = answer("purge", "--user", "ada", "--yes")
    assert b"metadata" in db.read_bytes()
    assert (done["rows"]["runs"], done["files_with_bytes_left"]) == (1, [])
    assert purging.begun(db) is None


def test_a_session_that_two_share_loses_only_the_ones_part(db: Path, prices: PriceBook, answer: Ask) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada.lovelace", "mine", session="shared-session")
        record(tracer, "grace.hopper", "mine, too", session="shared-session")
    done = answer("purge", "--user", "ada.lovelace", "--yes")
    assert done["files_with_bytes_left"] == []
    assert rows(db, "select user_id, session_id from runs") == [("grace.hopper", "shared-session")]


def test_a_user_who_is_recorded_under_a_keyed_hash_is_found_by_name(
    db: Path, answer: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for redactor in (Redactor(fields={"user_id": "hash"}), Redactor()):
        with Tracer(db, redactor=redactor) as tracer:
            record(tracer, "ada.lovelace", "hello")
    assert len(rows(db, "select distinct user_id from runs")) == 2
    assert answer("purge", "--user", "ada.lovelace")["rows"]["runs"] == 2
    done = answer("purge", "--user", "ada.lovelace", "--yes")
    assert (done["rows"]["runs"], done["files_with_bytes_left"]) == (2, [])
    assert rows(db, "select count(*) from runs") == [(0,)]


def test_what_was_spent_of_a_limit_is_not_given_back_by_a_deletion(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices, budget=Budget(user_day_usd=1)) as tracer:
        record(tracer, "ada.lovelace", "hello " * 1000)
    before = rows(db, "select * from budget_ledger")
    answer("purge", "--user", "ada.lovelace", "--yes")
    assert rows(db, "select * from budget_ledger") == before


def test_what_was_spent_before_today_and_in_their_sessions_goes(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices, budget=Budget(user_day_usd=1, session_usd=1)) as tracer:
        record(tracer, "ada.lovelace", "hello", session="of-ada-only")
        record(tracer, "grace.hopper", "hello", session="of-grace-only")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("update budget_ledger set period = '2026-01-01' where scope = 'user_day_usd'")
    ledger = "select scope, count(*) from budget_ledger group by scope order by scope"
    assert rows(db, ledger) == [("session_usd", 2), ("user_day_usd", 2)]
    assert answer("purge", "--user", "ada.lovelace", "--yes")["rows"]["budget_ledger"] == 2
    assert rows(db, ledger) == [("session_usd", 1), ("user_day_usd", 1)]


def test_old_prices_of_their_calls_go_and_those_of_others_stay(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada.lovelace", "hello")
        record(tracer, "grace.hopper", "hello")
        only_hers = Tracer(db, prices=PriceBook({"other": ModelPrice(input=1, output=1)}))
        with only_hers.run("triage", user="ada.lovelace") as run, run.llm("other", messages="x") as call:
            call.done("y")
        only_hers.close()
    dearer = PriceBook({"small": ModelPrice(input=2, output=2), "other": ModelPrice(input=2, output=2)})
    repriced_file.apply(db, dearer, Question(models=("small",)))
    repriced_file.apply(db, dearer, Question(models=("other",)))
    assert rows(db, "select count(*) from repriced_calls") == [(3,)]
    done = answer("purge", "--user", "ada.lovelace", "--yes")
    assert (done["rows"]["repriced_calls"], done["rows"]["repricings"]) == (2, 1)
    assert rows(db, "select user_id from repriced_calls join runs on runs.id = run_id") == [("grace.hopper",)]
    assert rows(db, "select models from repricings") == [("small",)]


# ── killed, late, and copied ─────────────────────────────────────────────────────────────────────────────


def test_p24_a_purge_that_is_killed_is_ended_by_the_next(
    many_users: Path, killed: Killed, answer: Ask
) -> None:
    before = totals(many_users)
    begun = 0
    for after in (0.3, 0.4, 0.5, 0.6):
        killed("purge", "--user", VICTIM, "--yes", after=after)
        assert totals(many_users) == before
        assert rows(many_users, "pragma quick_check") == [("ok",)]
        begun += purging.begun(many_users) is not None
    done = (
        answer("purge", "--yes") if purging.begun(many_users) else answer("purge", "--user", VICTIM, "--yes")
    )
    assert done["files_with_bytes_left"] == []
    assert purging.begun(many_users) is None
    assert hits(many_users, [*CANARIES, VICTIM]) == {}
    assert totals(many_users) == before


def test_a_purge_that_died_between_any_two_pieces_is_ended_by_the_next(many_users: Path) -> None:
    before = totals(many_users)

    class Dies(BaseException):
        pass

    told = 0
    while told >= 0:
        left = told

        def die(_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Dies

        try:
            purging.purge(many_users, VICTIM, die)
        except Dies:
            told += 1
            assert told < 200
        else:
            break
    assert told >= 3
    assert totals(many_users) == before
    assert hits(many_users, [*CANARIES, VICTIM]) == {}


def test_events_of_a_purged_run_that_come_late_are_refused_and_new_runs_of_the_user_are_not(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "grace.hopper", "early")
        with tracer.run("long", user="ada.lovelace", session="the-session", input="canary-early") as run:
            with run.llm("small", messages="canary-first") as call:
                call.done("canary-answer")
            assert tracer.flush(10)
            assert answer("purge", "--user", "ada.lovelace", "--yes")["rows"]["runs"] == 1
            with run.llm("small", messages="canary-late") as call:
                call.done("canary-late-answer")
            with run.tool("lookup", {"of": "canary-tool"}):
                pass
        assert tracer.flush(10)
        assert rows(db, "select user_id from runs") == [("grace.hopper",)]
        assert tracer.losses.keys() == {"of a user who was purged"}
        record(tracer, "ada.lovelace", "she is back", session="the-session")
        record(tracer, "grace.hopper", "late")
        assert tracer.flush(10)
        assert rows(db, "select user_id from runs order by started_at") == [
            ("grace.hopper",), ("ada.lovelace",), ("grace.hopper",),
        ]  # fmt: skip
    assert hits(db, ["canary"]) == {}


def test_a_run_that_another_process_began_goes_with_its_part_here_and_does_not_come_back(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    asked = {"traceparent": f"00-{'c0ffee' * 5}00-{'ab' * 8}-01"}
    with Tracer(db, prices=prices) as tracer:
        with tracer.continue_from(asked, user="ada.lovelace") as part:
            with part.llm("small", messages="canary-first") as call:
                call.done("canary-answer")
            assert tracer.flush(10)
            assert answer("purge", "--user", "ada.lovelace", "--yes")["rows"]["run_parts"] == 1
            with part.llm("small", messages="canary-late") as call:
                call.done("canary-late-answer")
        assert tracer.flush(10)
        assert tracer.losses.keys() == {"of a user who was purged"}
    for table in ("runs", "run_parts", "llm_calls", "sessions"):
        assert rows(db, f"select count(*) from {table}") == [(0,)], table
    assert hits(db, ["canary", "ada.lovelace"]) == {}


def test_a_message_that_a_live_process_believes_to_be_stored_is_stored_again(
    db: Path, prices: PriceBook, answer: Ask
) -> None:
    with Tracer(db, prices=prices) as tracer:
        record(tracer, "ada.lovelace", "the same question")
        assert tracer.flush(10)
        answer("purge", "--user", "ada.lovelace", "--yes")
        record(tracer, "grace.hopper", "the same question")
    bodies = {json.loads(body)["content"] for (body,) in rows(db, "select body from messages")}
    assert "the same question" in bodies
    assert "be kind" in bodies


def test_who_writes_meanwhile_loses_nothing(many_users: Path, answer: Ask) -> None:
    """Another process writes, with shared texts, during the whole purge: all its runs are whole afterwards."""
    source = f"""
from tokentrace_core import Tracer
import time
end = time.monotonic() + 2.5
count = 0
with Tracer({str(many_users)!r}) as tracer:
    while time.monotonic() < end:
        with tracer.run("busy", user="busy") as run:
            with run.llm("m", messages=[{{"role": "system", "content": "shared"}}, {{"role": "user", "content": str(count % 7)}}]) as call:
                call.done("ok")
        count += 1
        time.sleep(0.002)
    assert tracer.flush(30) and not tracer.losses, tracer.losses
print(count)
"""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as busy:
        time.sleep(0.8)
        done = answer("purge", "--user", VICTIM, "--yes")
        written = int(busy.communicate(timeout=60)[0])
    assert done["files_with_bytes_left"] == []
    assert rows(many_users, "select count(*) from runs where user_id = 'busy'") == [(written,)]
    broken = """select count(*) from llm_calls c left join prompts p on p.id = c.prompt_id
        left join messages m on m.id = p.message_id where p.id is null or m.id is null"""
    assert rows(many_users, broken) == [(0,)]
    assert hits(many_users, CANARIES) == {}


def test_a_damaged_file_that_was_put_aside_still_has_the_user_and_that_is_said(
    two_users: Path, command: Command
) -> None:
    kept = two_users.with_name(f"{two_users.name}.corrupt-20260101T000000")
    kept.write_bytes(b"torn" * 1000 + b"ada.lovelace" + b"\0" * 100)
    shown = command("purge", "--user", "ada.lovelace", "--yes")
    assert shown.returncode == 1
    assert kept.name in shown.stdout
    kept.unlink()
    ended = command("purge", "--yes")
    assert (ended.returncode, "is ended" in ended.stdout) == (0, True)
    assert purging.begun(two_users) is None


def test_an_export_that_still_has_the_user_is_named(
    two_users: Path, tmp_path: Path, command: Command
) -> None:
    export = tmp_path / "export.jsonl"
    export.write_text(json.dumps({"user_id": "ada.lovelace"}))
    assert audit.note_in(two_users, "export", copy=export, rows=1)
    shown = command("purge", "--user", "ada.lovelace", "--yes")
    assert shown.returncode == 1
    assert "export.jsonl" in shown.stdout
    export.unlink()
    command("purge", "--yes")
    assert purging.begun(two_users) is None


def test_a_backup_with_another_key_cannot_be_purged_and_that_is_said_until_it_is_gone(
    two_users: Path, tmp_path: Path, command: Command
) -> None:
    backup = tmp_path / "locked.db"
    assert command("backup", str(backup)).returncode == 0
    assert command("--db", str(backup), "rekey", TOKENTRACE_NEW_KEY="another").returncode == 0
    shown = command("purge", "--user", "ada.lovelace", "--yes")
    assert shown.returncode == 1
    assert "locked.db (could not be opened)" in shown.stdout
    assert rows(two_users, "select user_id from runs") == [("grace.hopper",)]
    assert purging.begun(two_users) == "ada.lovelace"
    backup.unlink()
    assert command("purge", "--yes").returncode == 0
    assert purging.begun(two_users) is None


@pytest.mark.parametrize("name", ["backup.db.4711.part", "backup.db.4711.part-journal"])
def test_a_draft_of_a_backup_that_was_killed_is_named(
    two_users: Path, tmp_path: Path, command: Command, name: str
) -> None:
    backup = tmp_path / "backup.db"
    assert command("backup", str(backup)).returncode == 0
    draft = backup.rename(backup.with_name(name))
    shown = command("purge", "--user", "ada.lovelace", "--yes")
    assert (shown.returncode, draft.name in shown.stdout) == (1, True)
    draft.unlink()
    assert command("purge", "--yes").returncode == 0


def test_a_purge_that_is_half_done_is_said_by_whoever_opens_the_file(
    two_users: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    Journal(two_users).begin("ada.lovelace")
    with Tracer(two_users) as tracer:
        assert tracer.flush(10)
    assert "a purge of" in caplog.text
    assert "ada.lovelace" not in caplog.text
    assert "purge --yes" in command("doctor").stdout
    assert command("purge", "--yes").returncode == 0
    assert "purge --yes" not in command("doctor").stdout


def test_the_lines_of_a_user_in_our_log_are_blanked_and_those_of_others_stay(
    db: Path, prices: PriceBook, tmp_path: Path, answer: Ask
) -> None:
    path = tmp_path / "agent.log"
    with Tracer(db, prices=prices) as tracer:
        log = attach(tracer, path)
        ran = record(tracer, "ada.lovelace", "canary-said", session="session-of-ada")
        record(tracer, "grace.hopper", "hello")
        assert tracer.flush(10)
        theirs = [line for line in path.read_text().splitlines() if "grace.hopper" in line]
        done = answer("purge", "--user", "ada.lovelace", "--yes")
        assert (done["files_with_bytes_left"], done["rows"]["log lines"] > 1) == ([], True)
        record(tracer, "grace.hopper", "hello again")
        log.close()
    said = path.read_text()
    assert not any(name in said for name in ("ada.lovelace", ran, "session-of-ada"))
    lines = [json.loads(line) for line in said.splitlines() if line.strip()]
    assert {line["user"] for line in lines} == {"grace.hopper"}
    assert len(lines) == 2 * len(theirs)


def test_a_user_who_stands_in_a_log_only_goes_from_there(
    db: Path, prices: PriceBook, tmp_path: Path, answer: Ask
) -> None:
    path = tmp_path / "agent.log"
    with Tracer(db, prices=prices) as tracer:
        attach(tracer, path)
        record(tracer, "ada.lovelace", "hello")
    with closing(sqlite3.connect(db)) as connection, connection:
        connection.execute("delete from runs")
        connection.execute("delete from sessions")
    assert answer("purge", "--user", "ada.lovelace", "--yes")["rows"]["log lines"] > 0
    assert "ada.lovelace" not in path.read_text()


def test_the_files_beside_the_trace_are_for_its_owner_only(two_users: Path, command: Command) -> None:
    command("purge", "--user", "ada.lovelace", "--yes")
    modes = {path.name: path.stat().st_mode & 0o777 for path in two_users.parent.glob("traces.db*")}
    assert set(modes.values()) == {0o600}, modes
