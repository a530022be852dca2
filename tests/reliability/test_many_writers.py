"""Many processes and threads on one file, while it is read and old runs are deleted: every row is there."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.reliability import programs
from tokentrace_core.analysis.spending import spending
from tokentrace_core.store.reader import Reader

PROCESSES, THREADS = 8, 4


class Others:
    """A reader that polls, and somebody who deletes old runs: both until told to stop."""

    def __init__(self, db: Path) -> None:
        self._db = db
        self._stop = threading.Event()
        self.polls = 0
        self.deleted: set[str] = set()
        self.errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._try, args=(work,)) for work in (self._poll, self._delete)
        ]

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _try(self, work: Callable[[], None]) -> None:
        try:
            while not self._stop.wait(0.05):
                work()
        except BaseException as error:
            self.errors.append(error)

    def _poll(self) -> None:
        with Reader(self._db) as reader:
            reader.runs(20)
            spending(reader, ["status"])
        self.polls += 1

    def _delete(self) -> None:
        if len(self.deleted) >= 200:
            return
        old = "select id from runs where status = 'success' order by started_at limit 3"
        with closing(sqlite3.connect(self._db, timeout=60)) as connection:
            connection.execute("begin immediate")
            chosen = [run for (run,) in connection.execute(old)]
            for run in chosen:
                connection.execute("delete from runs where id = ?", [run])
                for table in ("steps", "tool_calls"):
                    connection.execute(f"delete from {table} where run_id = ?", [run])
            connection.commit()
        self.deleted.update(chosen)


def test_eight_processes_of_four_threads_write_one_file_that_is_read_and_cleaned_and_lose_no_row(
    db: Path,
    tmp_path: Path,
    start: Callable[..., BaseProcess],
    rows: Callable[..., list[tuple[Any, ...]]],
    until: Callable[..., None],
    length: Callable[[int, int], int],
    figures: Callable[..., None],
    capfd: Any,
) -> None:
    events, per_run = length(100, 10_000), length(20, 100)
    journals = [tmp_path / f"journal {place}" for place in range(PROCESSES)]
    began = time.monotonic()
    children = [
        start(programs.record_from_threads, db, journal, THREADS, events, per_run) for journal in journals
    ]
    until(lambda: db.exists() and rows("select 1 from sqlite_master where name = 'losses'"))
    with Others(db) as others:
        for child in children:
            child.join(1800)
    took = time.monotonic() - began

    assert others.errors == []
    assert [child.exitcode for child in children] == [0] * PROCESSES
    assert "locked" not in capfd.readouterr().err
    lines = [journal.read_text().split() for journal in journals]
    assert [line[1:3] for line in lines] == [["closed", "0"]] * PROCESSES
    made = PROCESSES * THREADS * events // per_run
    assert rows("select count(*) from runs where status = 'success'") == [(made - len(others.deleted),)]
    incomplete = f"""
        select r.id from runs r where r.tool_calls != {per_run} or {per_run} != (
            select count(*) from tool_calls where run_id = r.id and status = 'success')
    """
    assert rows(incomplete) == []
    kept = (made - len(others.deleted)) * per_run
    assert rows("select count(*) from tool_calls") == [(kept,)]
    strays = "select count(*) from tool_calls t left join steps s on s.run_id = t.run_id and s.id = t.step_id where s.id is null"
    assert rows(strays) == [(0,)]
    assert rows("pragma integrity_check") == [("ok",)]
    figures(
        events=PROCESSES * THREADS * events,
        seconds=round(took, 1),
        rows_missing=0,
        runs_deleted_meanwhile=len(others.deleted),
        polls_meanwhile=others.polls,
        slowest_call_ms=max(float(line[3]) for line in lines),
    )
