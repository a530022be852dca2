"""The file cannot be written: the agent does not notice, and what is not in the file is counted, stored and shown."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.reliability import programs
from tests.reliability.agents import Agent
from tokentrace_core import Tracer
from tokentrace_core.cli import main
from tokentrace_core.store import writer

Rows = Callable[..., list[tuple[Any, ...]]]
Fault = Callable[[Path], Any]

_LEVELS = ("sessions", "runs", "steps", "llm_calls", "tool_calls")


@pytest.fixture
def stored(rows: Rows) -> Callable[[Path], int]:
    """Rows in the file that are as they were at their end."""

    def count(db: Path) -> int:
        ended = " where status not in ('running', 'waiting')"
        tables = [(table, ended if table != "sessions" else "") for table in _LEVELS]
        return sum(rows(f"select count(*) from {table}{only}", db)[0][0] for table, only in tables)

    return count


@pytest.fixture
def told() -> Callable[[Path], tuple[int, str, str]]:
    """What the command line tells of losses: how many, by `doctor`, and by `runs`."""

    def tell(db: Path) -> tuple[int, str, str]:
        lost = json.loads(CliRunner().invoke(main, ["runs", "--db", str(db), "--json"]).output)["losses"]
        doctor = CliRunner().invoke(main, ["doctor", "--db", str(db)]).output
        return (
            sum(row["records"] for row in lost),
            next(line for line in doctor.splitlines() if "lost records" in line),
            CliRunner().invoke(main, ["runs", "--db", str(db)]).output.splitlines()[-1],
        )

    return tell


# ── ways to keep a file from being written ───────────────────────────────────────────────────────────────


@contextmanager
def filled_disk(db: Path) -> Iterator[None]:
    """Not a byte is left on the disk."""
    filler = db.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Nobody may write there: for root, whom permissions do not bind, by a flag of the file system."""
    if os.geteuid():
        modes = [stat.S_IMODE(path.stat().st_mode) for path in paths]
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode & ~0o222)
    elif subprocess.run(["chattr", "+i", *paths], capture_output=True, check=False).returncode:
        pytest.skip("this file system knows no immutable files, and permissions do not bind root")
    try:
        yield
    finally:
        if os.geteuid():
            for path, mode in zip(paths, modes, strict=True):
                path.chmod(mode)
        else:
            subprocess.run(["chattr", "-i", *paths], check=True)


def read_only_file(db: Path) -> Any:
    return immutable(*_written(db))


def read_only_folder(db: Path) -> Any:
    return immutable(db.parent, *_written(db))


def _written(db: Path) -> list[Path]:
    """The file and its log. Not its index: that is in memory, and what forbids writing there kills the process."""
    return [path for end in ("", "-wal") if (path := db.with_name(db.name + end)).exists()]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where the file lies."""
    folder = tmp_path / "folder"
    folder.mkdir()
    if request.param == "a folder":
        yield folder
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


# ── a disk that is full, a file that is read-only ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("a small disk", filled_disk),
        ("a folder", read_only_file),
        ("a folder", read_only_folder),
    ],
    indirect=["place"],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_that_cannot_be_written_for_a_while_costs_what_is_counted_and_not_one_record_more(
    place: Path,
    fault: Fault,
    emitted: set[tuple[str, str]],
    stored: Callable[[Path], int],
    told: Callable[[Path], tuple[int, str, str]],
    said: Callable[[], list[str]],
    rows: Rows,
    until: Callable[..., None],
    figures: Callable[..., None],
) -> None:
    if fault in (read_only_file, read_only_folder) and os.geteuid():
        pytest.skip("permissions do not bind who has opened the file already")
    db = place / "traces.db"
    tracer = Tracer(db)
    agent = Agent(tracer)
    agent.work_for(0.3)
    across = tracer.run("across the trouble")
    across.begin()
    assert tracer.flush(20)
    assert tracer.losses == {}
    with fault(db):
        began = time.monotonic()
        while not said() and time.monotonic() - began < 20:
            agent.work("x" * 2_000)
            time.sleep(0.005)
        agent.work_for(0.5, text="y" * 2_000)
        ended_meanwhile = tracer.run("ended meanwhile")
        with ended_meanwhile:
            pass
        assert tracer.flush(20)
        first = said()
        lost_meanwhile, reasons = sum(tracer.losses.values()), len(tracer.losses)
    assert lost_meanwhile > 0
    assert len(first) == reasons, "each reason is said once"
    assert all(str(db) in line for line in first)

    space_at = time.monotonic()
    until(lambda: rows("select 1 from runs where name = 'ended meanwhile' and status = 'success'", db), 20)
    resumed_s = time.monotonic() - space_at
    across.end()
    agent.work_for(0.3)
    assert tracer.close(20)
    lost = sum(tracer.losses.values())
    assert 0 < lost <= lost_meanwhile
    assert stored(db) + lost == len(emitted)
    assert rows("select sum(records) from losses", db) == [(lost,)]
    in_json, by_doctor, by_runs = told(db)
    assert in_json == lost
    assert f"{lost:,} (" in by_doctor
    assert f"{lost:,} (" in by_runs
    assert rows("select status from runs where name = 'across the trouble'", db) == [("success",)]
    assert rows("select count(*) from runs where status = 'running'", db) == [(0,)]
    assert rows("pragma integrity_check", db) == [("ok",)]
    agent.check()
    figures(
        emitted=len(emitted),
        lost=lost,
        difference=0,
        reason=next(iter(tracer.losses)),
        resumed_after_s=round(resumed_s, 1),
        held_up_ms=round(agent.held_up_s * 1000, 1),
    )


@pytest.mark.parametrize("fault", [read_only_file, read_only_folder], ids=lambda fault: fault.__name__)
def test_a_place_that_was_never_writable_costs_all_records_and_not_the_agent(
    tmp_path: Path,
    fault: Fault,
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
) -> None:
    db = tmp_path / "folder" / "traces.db"
    db.parent.mkdir()
    if fault is read_only_file:
        db.touch()
    with fault(db):
        with Tracer(db) as tracer:
            agent = Agent(tracer)
            agent.work_for(0.3)
            assert tracer.flush(20)
        assert sum(tracer.losses.values()) == len(emitted)
        agent.check()
    first, last = said()
    assert str(db) in first
    assert f"{len(emitted)} records" in last


# ── a file that others hold ──────────────────────────────────────────────────────────────────────────────


def test_a_file_that_is_locked_for_long_delays_the_records_and_not_the_agent(
    db: Path,
    emitted: set[tuple[str, str]],
    stored: Callable[[Path], int],
    said: Callable[[], list[str]],
    length: Callable[[float, float], float],
    figures: Callable[..., None],
) -> None:
    locked_s = length(3.0, 30.0)
    with Tracer(db) as tracer:
        agent = Agent(tracer)
        agent.work_for(0.2)
        assert tracer.flush(20)
        with closing(sqlite3.connect(db)) as other:
            other.execute("begin exclusive")
            agent.work_for(locked_s, pause_s=0.01)
            assert tracer.flush(0.1) is False
            other.rollback()
        released_at = time.monotonic()
        assert tracer.flush(30)
        drained_s = time.monotonic() - released_at
        assert tracer.losses == {}
    assert stored(db) == len(emitted)
    assert said() == []
    agent.check()
    figures(
        locked_s=locked_s,
        records=len(emitted),
        lost=0,
        drained_after_s=round(drained_s, 1),
        held_up_ms=round(agent.held_up_s * 1000, 1),
    )


def test_a_file_that_is_locked_for_longer_than_anyone_waits_costs_what_is_counted(
    db: Path,
    emitted: set[tuple[str, str]],
    stored: Callable[[Path], int],
    monkeypatch: pytest.MonkeyPatch,
    rows: Rows,
) -> None:
    monkeypatch.setattr(writer, "_LOCKED_PATIENCE_S", 0.6)
    with Tracer(db) as tracer:
        agent = Agent(tracer)
        agent.work()
        assert tracer.flush(20)
        with closing(sqlite3.connect(db)) as other:
            other.execute("begin exclusive")
            agent.work_for(1.0, pause_s=0.01)
            assert tracer.flush(30)
            other.rollback()
        assert list(tracer.losses) == ["OperationalError: database is locked"]
        agent.work_for(0.2)
    lost = sum(tracer.losses.values())
    assert lost > 0
    assert stored(db) + lost == len(emitted)
    assert rows("select sum(records) from losses") == [(lost,)]
    assert rows("select count(*) from runs where status != 'success'") == [(0,)]
    agent.check()


# ── a file that goes away ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "ends", [("",), ("", "-wal", "-shm")], ids=["the file alone", "and what is beside it"]
)
def test_a_file_deleted_again_and_again_under_load_has_all_that_comes_after(
    db: Path,
    rows: Rows,
    ends: tuple[str, ...],
    length: Callable[[int, int], int],
    figures: Callable[..., None],
    said: Callable[[], list[str]],
) -> None:
    chance, times = random.Random(4), length(8, 100)
    with Tracer(db) as tracer:
        agent = Agent(tracer)
        for _ in range(times):
            agent.work_for(chance.uniform(0.0, 0.1))
            for end in ends:
                db.with_name(db.name + end).unlink(missing_ok=True)
            before = len(agent.answers)
            agent.work_for(0.03)
            assert tracer.flush(20)
            outputs = {int(output) for (output,) in rows("select output from runs where status = 'success'")}
            assert set(agent.answers[before:]) <= outputs
        assert tracer.losses == {}
    assert rows("pragma integrity_check") == [("ok",)]
    agent.check()
    figures(deleted=times, lost_after_it=0, held_up_ms=round(agent.held_up_s * 1000, 1))


def test_a_file_deleted_under_two_processes_is_one_new_file_for_both(
    db: Path,
    tmp_path: Path,
    start: Callable[..., BaseProcess],
    rows: Rows,
    until: Callable[..., None],
    length: Callable[[int, int], int],
) -> None:
    journals = [tmp_path / f"journal {place}" for place in range(2)]
    children = [
        start(programs.record_until_killed, db, journal, place) for place, journal in enumerate(journals)
    ]

    def closed() -> list[list[str]]:
        return [
            [line.split()[2] for line in journal.read_text().splitlines() if " closed " in line]
            for journal in journals
        ]

    until(lambda: all(path.exists() and path.stat().st_size for path in journals))

    def has_tables() -> bool:
        try:
            return db.exists() and bool(rows("select 1 from sqlite_master where name = 'runs'"))
        except sqlite3.OperationalError:  # deleted while this reader was at it
            return False

    for _ in range(length(4, 40)):
        until(has_tables)
        db.unlink()
        gone = [len(runs) for runs in closed()]
        until(
            lambda gone=gone: all(len(now) > before + 3 for now, before in zip(closed(), gone, strict=True))
        )
        wanted = {runs[before + 2] for runs, before in zip(closed(), gone, strict=True)}

        def are_there(wanted: set[str] = wanted) -> bool:
            if not has_tables():
                return False
            return wanted <= {run for (run,) in rows("select id from runs where status = 'success'")}

        until(are_there, 15)
    assert all(child.is_alive() for child in children)
    for child in children:
        child.kill()
        child.join(10)
    assert rows("pragma integrity_check") == [("ok",)]
