"""Trouble with the file: what is not in it is counted exactly and said once, and nothing else is lost."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Tracer, signals
from tokentrace_core.store import trace_file

LEVELS = ("sessions", "runs", "steps", "llm_calls", "tool_calls")


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


def record(tracer: Tracer, runs: int = 1, text: str = "hello") -> None:
    for _ in range(runs):
        with tracer.run("agent") as run:
            with run.llm("gpt-4o", messages=[text]) as call:
                call.done(text)
            with run.tool("lookup") as tool:
                tool.done(text)


def until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log got from us."""
    caplog.set_level(logging.WARNING, logger="tokentrace")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tokentrace"]


@pytest.fixture
def emitted() -> Iterator[set[tuple[str, str]]]:
    """Every span and session that was announced, once."""
    seen: set[tuple[str, str]] = set()

    def hear(_: object, **fact: Any) -> None:
        for span in fact.values():
            seen.add((span.table, span.id))

    for signal in signals.CARRIES:
        signal.connect(hear)
    yield seen
    for signal in signals.CARRIES:
        signal.disconnect(hear)


def stored(db: Path) -> int:
    """Rows as they were at their end."""
    ended = ("where status not in ('running', 'waiting')" if table != "sessions" else "" for table in LEVELS)
    return sum(
        rows(db, f"select count(*) from {table} {only}")[0][0]
        for table, only in zip(LEVELS, ended, strict=True)
    )


@pytest.fixture
def lock(db: Path) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Somebody else writes, and does not stop; `rollback` ends it."""
    others: list[sqlite3.Connection] = []

    def hold() -> sqlite3.Connection:
        others.append(sqlite3.connect(db))
        others[-1].execute("begin immediate")
        return others[-1]

    yield hold
    for other in others:
        other.close()


# ── a locked file ────────────────────────────────────────────────────────────────────────────────────────


def test_a_locked_file_delays_but_loses_nothing(
    db: Path, lock: Callable[[], sqlite3.Connection], said: Callable[[], list[str]]
) -> None:
    with Tracer(db) as tracer:
        assert tracer.flush(10)
        other = lock()
        record(tracer)
        assert tracer.flush(0.05) is False
        other.rollback()
        assert tracer.flush(10) is True
        assert tracer.losses == {}
    assert rows(db, "select llm_calls, status from runs") == [(1, "success")]
    assert rows(db, "select count(*) from llm_calls") == [(1,)]
    assert said() == []


def test_what_a_lock_kept_out_until_the_end_is_counted_and_said_once(
    db: Path,
    lock: Callable[[], sqlite3.Connection],
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
) -> None:
    tracer = Tracer(db)
    record(tracer)
    assert tracer.flush(10)
    other = lock()
    record(tracer, 3)
    assert tracer.close(1.0) is False
    lost = sum(tracer.losses.values())
    assert list(tracer.losses) == ["OperationalError: database is locked"]
    assert stored(db) + lost == len(emitted)
    assert lost == len(emitted) * 3 / 4
    assert tracer._writer.close(0.1) is False, "as at the exit"
    assert sum(tracer.losses.values()) == lost
    [warning] = said()
    assert all(part in warning for part in (f"{lost} records", str(db), "database is locked"))

    other.rollback()
    until(lambda: not tracer.losses)
    assert stored(db) == len(emitted), "the thread did not stop trying, and what it made is no loss"
    assert len(said()) == 1


def test_a_record_after_a_closing_that_failed_starts_no_second_thread(
    db: Path, lock: Callable[[], sqlite3.Connection]
) -> None:
    tracer = Tracer(db)
    assert tracer.flush(10)
    other = lock()
    record(tracer)
    assert tracer.close(0.1) is False
    thread = tracer._writer._thread
    assert thread is not None
    tracer._writer.put(tracer._writer._in_hand[0])
    assert tracer._writer._thread is thread
    other.rollback()
    thread.join(10)
    assert not thread.is_alive()


# ── a full disk, a path that is none ─────────────────────────────────────────────────────────────────────


def test_a_full_disk_loses_what_does_not_fit_and_no_more_and_no_less(
    db: Path,
    monkeypatch: pytest.MonkeyPatch,
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
) -> None:
    pages = 2**30

    def prepare(*given: Any, prepared: Callable[..., Any] = trace_file._prepared) -> Any:
        database = prepared(*given)
        database.execute(f"pragma max_page_count = {pages}")
        return database

    monkeypatch.setattr(trace_file, "_prepared", prepare)
    tracer = Tracer(db)
    record(tracer, 5)
    assert tracer.flush(10)
    pages = 110
    tracer._writer._file.close()
    across = tracer.run("across the trouble")
    across.begin()
    for number in range(20):
        record(tracer, 5, text=f"{number} " + "x" * 5_000)
        assert tracer.flush(10)
    assert 0 < sum(tracer.losses.values()) < len(emitted)
    assert list(tracer.losses) == ["OperationalError: database or disk is full"]
    pages = 2**30
    across.end()
    record(tracer, 5, text="again")
    assert tracer.close(10)
    assert stored(db) + sum(tracer.losses.values()) == len(emitted)
    assert rows(db, "select status from runs where name = 'across the trouble'") == [("success",)]
    assert rows(db, "select count(*) from llm_calls where prompt_id not in (select id from prompts)") == [
        (0,)
    ]
    first, last = said()
    assert "lost so far" in first
    assert f"{sum(tracer.losses.values())} records" in last


@pytest.mark.parametrize("name", ["~nosuchuser/x.db", "nul\0.db", "file/traces.db", "loop/x.db"])
def test_a_path_that_cannot_be_written_is_no_error_and_loses_visibly(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "loop").symlink_to("loop")
    with Tracer(name) as tracer:
        with tracer.session("s"):
            record(tracer)
        assert tracer.flush(5)
        assert sum(tracer.losses.values()) == len(emitted)
        record(tracer, 4)
    assert sum(tracer.losses.values()) == len(emitted)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "loop"}
    first, last = said()
    assert "the agent goes on" in first
    assert "0 records" not in first
    assert f"{len(emitted)} records" in last


def test_nothing_is_said_of_a_path_that_cannot_be_written_as_long_as_nothing_is_lost(
    tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with Tracer(tmp_path / "file" / "traces.db") as tracer:
        assert tracer.flush(5)
        assert tracer.losses == {}
    assert said() == []


# ── a file that goes away ────────────────────────────────────────────────────────────────────────────────


def remove(db: Path, *ends: str) -> None:
    for end in ends:
        db.with_name(db.name + end).unlink()


@pytest.mark.parametrize("ends", [("",), ("", "-wal", "-shm")])
@pytest.mark.parametrize("watched", [False, True])
def test_a_file_that_is_deleted_is_begun_anew_with_all_that_comes_after(
    db: Path, said: Callable[[], list[str]], ends: tuple[str, ...], watched: bool
) -> None:
    with Tracer(db) as tracer, closing(sqlite3.connect(db)) as reader:
        with tracer.run("across the deletion") as run:
            record(tracer, 3)
            assert tracer.flush(10)
            if watched:
                reader.execute("begin")
                reader.execute("select * from runs").fetchall()
            remove(db, *ends)
            with run.llm("gpt-4o", messages=["hello"]) as call:
                call.done("hello")
        assert tracer.flush(10)
        assert tracer.losses == {}
        [warning] = said()
        assert str(db) in warning
        assert "deleted or replaced" in warning
    assert rows(db, "select name, status from runs") == [("across the deletion", "success")]
    assert rows(db, "select count(*) from llm_calls") == [(1,)]
    assert rows(db, "select count(*) from messages") == [(2,)], "also what was known of the old file"
    assert rows(db, "pragma integrity_check") == [("ok",)]


def test_a_file_put_in_its_place_is_the_one_that_is_written_to(
    db: Path, said: Callable[[], list[str]]
) -> None:
    other = db.with_name("other.db")
    with Tracer(other) as tracer, tracer.run("was in the other"):
        pass
    with Tracer(db) as tracer:
        record(tracer, 3)
        assert tracer.flush(10)
        other.rename(db)
        record(tracer)
        assert tracer.flush(10)
        assert len(said()) == 1
    assert rows(db, "select name from runs order by started_at") == [("was in the other",), ("agent",)]
    assert rows(db, "pragma integrity_check") == [("ok",)]


def test_a_folder_that_is_deleted_is_made_again(db: Path) -> None:
    path = db.parent / "folder" / "traces.db"
    with Tracer(path) as tracer:
        record(tracer)
        assert tracer.flush(10)
        remove(path, "", "-wal", "-shm")
        path.parent.rmdir()
        record(tracer)
    assert rows(path, "select count(*) from runs") == [(1,)]
