"""Forks, pools and workers that come and go: nobody hangs, and everybody's rows are there once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import programs
from tokentrace_core import Tracer

Rows = Callable[..., list[tuple[Any, ...]]]
Start = Callable[..., BaseProcess]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_a_hundred_forks_under_load_hang_nobody_and_lose_nothing(
    db: Path,
    tmp_path: Path,
    start: Start,
    rows: Rows,
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    forks, journal = length(25, 100), tmp_path / "journal"
    start(programs.fork_under_load, db, journal, forks).join(600)
    lines = [line.split()[1:] for line in journal.read_text().splitlines()]
    ends = [line for line in lines if line[0] in ("ended", "hung", "failed")]
    assert [line[0] for line in ends] == ["ended"] * forks
    assert lines[-1][:2] == ["closed", "0"]
    recorded = {line[1] for line in lines if line[0] == "recorded"}
    stored = rows("select id from runs where name = 'parent''s' and status = 'success'")
    assert {run for (run,) in stored} == recorded
    children = rows(
        "select name, count(*) from runs where name like 'child%' and llm_calls = 1 group by name"
    )
    assert len(children) == forks
    assert {count for _, count in children} == {1}
    assert rows("select count(*) from llm_calls where status = 'success'") == [(len(recorded) + forks,)]
    assert rows("pragma integrity_check") == [("ok",)]
    slowest = max(float(line[2]) for line in ends)
    figures(forks=forks, hung=0, recorded_meanwhile=len(recorded), lost=0, slowest_fork_s=slowest)


def test_workers_forked_from_a_process_that_has_a_tracer_each_write_their_rows(
    db: Path, tmp_path: Path, start: Start, rows: Rows
) -> None:
    journal = tmp_path / "journal"
    start(programs.serve_by_workers, db, journal, 4, 4, 50).join(120)
    assert journal.read_text().split()[-3:-1] == ["closed", "0"]
    of_workers = (
        "select name, count(*) from runs where name like 'worker%' and status = 'success' group by name"
    )
    assert rows(of_workers) == [(f"worker {number}", 50) for number in range(4)]
    assert rows("select count(*) from tool_calls where status = 'success'") == [(200,)]
    assert rows("select count(distinct pid), count(*) from writers") == [(5, 5)]


def test_workers_that_are_recycled_leave_nothing_open_and_nothing_out(
    db: Path,
    tmp_path: Path,
    start: Start,
    rows: Rows,
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    workers, journal = length(12, 100), tmp_path / "journal"
    start(programs.serve_by_workers, db, journal, workers, 2, 5).join(600)
    lines = [line.split()[1:] for line in journal.read_text().splitlines()]
    assert [line[0] for line in lines] == ["ended"] * workers + ["closed"]
    assert lines[-1][1] == "0"
    of_workers = "select count(*) from runs where name like 'worker%' and status = 'success'"
    assert rows(of_workers) == [(workers * 5,)]
    assert rows("select count(*) from runs where name = 'the master''s'") == [(workers,)]
    assert rows("select count(*) from runs where status = 'running'") == [(0,)]
    files = [int(line[1]) for line in lines[:-1]]
    assert max(files) - min(files) <= 5, "the file, its log and its index, or two of them a moment later"
    assert {line[2] for line in lines[:-1]} == {"2"}
    figures(workers=workers, rows_missing=0, open_files=f"{min(files)}-{max(files)}", threads=2)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_that_is_closed_and_joined_has_written_everything(db: Path, rows: Rows, method: str) -> None:
    with Tracer(db) as tracer:  # of the parent, which a forked worker inherits
        context = multiprocessing.get_context(method)
        pool = context.Pool(3, initializer=programs.make_tracer, initargs=(db,), maxtasksperchild=10)
        with tracer.run("parent's"):
            pids = set(pool.map(programs.work_in_pool, range(40), chunksize=2))
        pool.close()
        pool.join()
    assert os.getpid() not in pids
    assert rows("select count(*) from runs where name = 'agent' and status = 'success'") == [(40,)]
    assert rows("select count(*) from llm_calls where status = 'success'") == [(40,)]
    assert pids <= {pid for (pid,) in rows("select pid from writers")}
