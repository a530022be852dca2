"""kill -9 at any moment: what was recorded a second ago is in the file, and nothing claims to be still running."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.reliability import programs
from tokentrace_core import Tracer
from tokentrace_core.store import lease
from tokentrace_core.store.reader import Reader

Start = Callable[..., BaseProcess]
Rows = Callable[..., list[tuple[Any, ...]]]

_SECOND = 1_000_000_000


class Promised(NamedTuple):
    """A line of a killed process's journal that must be in the file, and why."""

    journal: str
    what: str
    run: str
    span: str
    flushed: bool
    age_s: float


def promised(journal: Path, killed_at: int) -> list[Promised]:
    """What was flushed, or is older than a second."""
    lines = [line.split() for line in journal.read_text().splitlines()]
    flushed = max((place for place, line in enumerate(lines) if line[1] == "flushed"), default=-1)
    return [
        Promised(journal.name, what, run, span, place <= flushed, (killed_at - int(at)) / _SECOND)
        for place, (at, what, run, span) in enumerate(lines)
        if what != "flushed" and (place <= flushed or killed_at - int(at) > _SECOND)
    ]


def lost(promises: list[Promised], rows: Rows) -> list[Promised]:
    """Promises that the file does not keep."""
    runs = dict(rows("select id, status from runs"))
    calls = {
        call for table in _CALLS for call in rows(f"select run_id, id from {table} where status = 'success'")
    }
    kept = {
        "begun": lambda line: line.run in runs,
        "closed": lambda line: runs.get(line.run) == "success",
        "asked": lambda line: (line.run, line.span) in calls,
        "used": lambda line: (line.run, line.span) in calls,
    }
    return [line for line in promises if not kept[line.what](line)]


_CALLS = ("llm_calls", "tool_calls")


def check_totals(read: Callable[[str], list[Any]]) -> None:
    """Interrupted runs end with the last that is known of them, and cost what their calls cost."""
    wrong = read("""
        select r.id from runs r where r.status = 'interrupted' and (
            r.cost_nano_usd is not (
                select coalesce(sum(cost_nano_usd), 0) from (
                    select cost_nano_usd from llm_calls where run_id = r.id
                    union all select cost_nano_usd from tool_calls where run_id = r.id))
            or r.llm_calls is not (select count(*) from llm_calls where run_id = r.id)
            or r.tool_calls is not (select count(*) from tool_calls where run_id = r.id)
            or r.output_tokens is not (select coalesce(sum(output_tokens), 0) from llm_calls where run_id = r.id)
            or r.ended_at is null or r.ended_at < r.started_at
            or r.ended_at < (select max(ended_at) from llm_calls where run_id = r.id)
            or r.ended_at > coalesce((select max(at) from (
                select max(coalesce(ended_at, started_at)) as at from tool_calls where run_id = r.id
                union all select max(coalesce(ended_at, started_at)) from llm_calls where run_id = r.id
                union all select max(coalesce(ended_at, started_at)) from steps where run_id = r.id
                union all select r.started_at)), 0))
    """)
    assert wrong == []


def test_four_processes_killed_at_any_moment_lose_nothing_older_than_a_second(
    db: Path,
    tmp_path: Path,
    start: Start,
    rows: Rows,
    all_are_dead: None,
    until: Callable[..., None],
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    kills, seed = length(4, 100), random.randrange(10**6)
    chance, interrupted, promises = random.Random(seed), 0, list[Promised]()
    for number in range(kills):
        journals = [tmp_path / f"journal {number} {place}" for place in range(4)]
        children = [
            start(programs.record_until_killed, db, journal, seed + number * 4 + place)
            for place, journal in enumerate(journals)
        ]
        until(lambda journals=journals: all(path.exists() and path.stat().st_size for path in journals))
        until(lambda: rows("select 1 from sqlite_master where name = 'writers'"))
        time.sleep(chance.uniform(0.0, 2.0))
        killed_at = time.monotonic_ns()
        for child in children:
            os.kill(child.pid or 0, signal.SIGKILL)
        for child in children:
            child.join(10)
        just_promised = [line for journal in journals for line in promised(journal, killed_at)]
        assert rows("pragma integrity_check") == [("ok",)]
        with Reader(db) as reader:  # before any writer has been there
            assert list(reader.query("select id from runs where status = 'running'")) == []
            interrupted += len(list(reader.query("select id from main.runs where status = 'running'")))
            check_totals(lambda sql, reader=reader: list(reader.query(sql)))
        with Tracer(db) as tracer:
            assert tracer.flush(20)
        for table in ("runs", "steps", "llm_calls", "tool_calls"):
            assert rows(f"select count(*) from {table} where status = 'running'") == [(0,)], table
        check_totals(rows)
        assert lost(just_promised, rows) == []
        promises += just_promised

    assert lost(promises, rows) == [], "nor what was there before"
    orphans = "select count(*) from llm_calls where run_id not in (select id from runs)"
    assert rows(orphans) == [(0,)]
    figures(
        rounds=kills,
        processes=4,
        seed=seed,
        promises_kept=len(promises),
        runs_interrupted=interrupted,
        lost=0,
    )


def test_a_process_killed_while_it_makes_the_file_leaves_one_that_works(
    tmp_path: Path,
    start: Start,
    rows: Rows,
    all_are_dead: None,
    until: Callable[..., None],
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    kills, seed, half_done = length(6, 50), random.randrange(10**6), 0
    chance = random.Random(seed)
    for number in range(kills):
        db, journal = tmp_path / f"{number}.db", tmp_path / f"journal {number}"
        children = [start(programs.begin_a_file, db, journal) for _ in range(2)]
        until(lambda journal=journal: journal.exists() and journal.stat().st_size)
        time.sleep(chance.uniform(0.0, 0.8))
        for child in children:
            child.kill()
        half_done += "has begun" not in journal.read_text()
        for child in children:
            child.join(10)
        with Tracer(db) as tracer:
            with tracer.run("the next"):
                pass
            assert tracer.flush(20)
            assert tracer.losses == {}
        assert rows("pragma integrity_check", db) == [("ok",)]
        assert rows("select status from runs where name = 'the next'", db) == [("success",)]
        assert rows("select count(*) from runs where status = 'running'", db) == [(0,)]
    figures(files=kills, killed_before_it_was_made=half_done, seed=seed, unusable=0)


@pytest.mark.parametrize("buried", [False, True], ids=["nobody writes meanwhile", "another writer finds it"])
def test_a_process_that_was_only_stopped_reads_interrupted_and_is_right_again_when_it_goes_on(
    db: Path,
    tmp_path: Path,
    start: Start,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[..., None],
    buried: bool,
) -> None:
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 2)
    monkeypatch.setattr(lease, "BEAT_S", 0.2)
    journal, told = tmp_path / "journal", tmp_path / "go on"
    child = start(programs.run_until_told, db, journal, told, 0.2, 2)

    def status() -> str:
        with Reader(db) as reader:
            return str(reader.run("last")["status"])

    until(lambda: journal.exists() and "begun" in journal.read_text())
    until(lambda: db.exists() and rows("select 1 from sqlite_master where name = 'writers'"))
    until(lambda: rows("select count(*) from steps") == [(1,)])
    assert status() == "running"
    stop_while_it_holds_no_lock(child, db)
    until(lambda: status() == "interrupted")
    with Reader(db) as reader:
        run = reader.run("last")
        assert (run["llm_calls"], run["cost_nano_usd"]) == (1, 3_500_000)
        assert run["ended_at"] is not None
        assert [step["status"] for step in reader.steps(run["id"])] == ["interrupted"]
    if buried:
        with Tracer(db) as tracer:
            assert tracer.flush(20)
        assert rows("select status, llm_calls, cost_nano_usd from runs") == [("interrupted", 1, 3_500_000)]
        assert rows("select status from steps") == [("interrupted",)]

    os.kill(child.pid or 0, signal.SIGCONT)
    until(lambda: status() == "running")
    if buried:
        assert rows("select status, ended_at from steps") == [("running", None)]
    told.touch()
    child.join(30)
    assert "closed" in journal.read_text()
    assert rows("select status, llm_calls, cost_nano_usd from runs") == [("success", 2, 7_000_000)]
    assert rows("select distinct status from steps union select status from llm_calls") == [("success",)]


def stop_while_it_holds_no_lock(child: BaseProcess, db: Path) -> None:
    """Who is stopped with the file locked locks out everybody: that is another test."""
    while True:
        os.kill(child.pid or 0, signal.SIGSTOP)
        with closing(sqlite3.connect(db, timeout=0)) as connection:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError:
                os.kill(child.pid or 0, signal.SIGCONT)
                time.sleep(0.01)
            else:
                return


def test_the_number_of_a_dead_process_that_another_has_by_now_proves_nothing(
    db: Path, rows: Rows, all_are_dead: None
) -> None:
    tracer = Tracer(db)
    tracer.run("agent").begin()
    assert tracer.flush(10)
    assert rows("select pid from writers") == [(os.getpid(),)], "as alive as can be"
    with Reader(db) as reader:
        assert reader.run("last")["status"] == "interrupted"
    tracer.close()
