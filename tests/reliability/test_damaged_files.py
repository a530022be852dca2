"""A file that is not what we wrote: kept whole under another name, and never in the way of the agent."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.reliability import programs
from tests.reliability.agents import Agent
from tokentrace_core import Tracer
from tokentrace_core.cli import main

Rows = Callable[..., list[tuple[Any, ...]]]


def as_text(db: Path) -> None:
    db.write_text("these are my notes\n" * 500)


def header_overwritten(db: Path) -> None:
    write(db, 0, b"\xff" * 100)


def header_of_an_unknown_format(db: Path) -> None:
    write(db, 44, b"\x00\x00\x00\x09")


def schema_overwritten(db: Path) -> None:
    write(db, 100, b"\xff" * 1_500)


def pages_flipped(db: Path) -> None:
    for page in range(1, db.stat().st_size // 2_048):
        write(db, page * 2_048, bytes(byte ^ 0xFF for byte in db.read_bytes()[page * 2_048 :][:64]))


def cut_in_half(db: Path) -> None:
    os.truncate(db, db.stat().st_size // 2)


def cut_inside_the_header(db: Path) -> None:
    os.truncate(db, 60)


def write(db: Path, at: int, content: bytes) -> None:
    with db.open("r+b") as file:
        file.seek(at)
        file.write(content)


DAMAGES = [
    as_text,
    header_overwritten,
    header_of_an_unknown_format,
    schema_overwritten,
    pages_flipped,
    cut_in_half,
    cut_inside_the_header,
]


@pytest.fixture
def trace(db: Path) -> Path:
    """A file with a hundred runs in it."""
    with Tracer(db) as tracer:
        agent = Agent(tracer)
        for _ in range(100):
            agent.work()
    return db


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(db: Path) -> list[Path]:
    return [path for path in db.parent.glob(f"{db.name}.corrupt-*") if path.name.endswith("Z")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_kept_byte_by_byte_and_a_new_one_takes_all_that_comes(
    trace: Path,
    damage: Callable[[Path], None],
    emitted: set[tuple[str, str]],
    said: Callable[[], list[str]],
    rows: Rows,
) -> None:
    damage(trace)
    before = digest(trace)
    with Tracer(trace) as tracer:
        agent = Agent(tracer)
        for _ in range(20):
            agent.work()
        assert tracer.flush(20)
        assert tracer.losses == {}
    agent.check()
    [aside] = kept(trace)
    assert re.fullmatch(r"traces\.db\.corrupt-\d{8}T\d{6}Z", aside.name)
    assert digest(aside) == before
    [line] = said()
    assert str(trace) in line
    assert str(aside) in line
    assert rows("select count(*), count(distinct id) from runs where status = 'success'") == [(20, 20)]
    assert rows("pragma integrity_check") == [("ok",)]
    assert aside.name in CliRunner().invoke(main, ["doctor", "--db", str(trace)]).output


def test_whichever_byte_of_the_header_is_wrong_no_record_is_lost_uncounted(
    tmp_path: Path,
    trace: Path,
    emitted: set[tuple[str, str]],
    rows: Rows,
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    moved = lost = 0
    places = range(0, 100, length(7, 1))
    for place in places:
        db = tmp_path / f"{place}.db"
        db.write_bytes(trace.read_bytes())
        write(db, place, bytes([db.read_bytes()[place] ^ 0xFF]))
        before = digest(db)
        emitted.clear()
        with Tracer(db) as tracer:
            agent = Agent(tracer)
            agent.work()
            agent.work()
            assert tracer.flush(20)
        assert agent.answers == [1, 4]
        new = [run for table, run in emitted if table == "runs"]
        try:
            found = {run for (run,) in rows("select id from runs where status = 'success'", db)}
        except sqlite3.DatabaseError:
            found = set()
        assert set(new) <= found or sum(tracer.losses.values()) == len(emitted), place
        assert [digest(aside) for aside in kept(db)] in ([], [before]), place
        moved += len(kept(db))
        lost += bool(tracer.losses)
    figures(bytes_changed=len(places), moved_aside=moved, not_writable_and_counted=lost, uncounted=0)


def test_a_file_cut_to_nothing_is_begun_anew_in_its_place(
    trace: Path, said: Callable[[], list[str]], rows: Rows
) -> None:
    os.truncate(trace, 0)
    with Tracer(trace) as tracer:
        Agent(tracer).work()
        assert tracer.flush(20)
        assert tracer.losses == {}
    assert kept(trace) == []
    assert said() == []
    assert rows("select count(*) from runs") == [(1,)]


def test_a_file_of_a_newer_tokentrace_is_not_touched_and_all_losses_are_counted(
    trace: Path, emitted: set[tuple[str, str]], said: Callable[[], list[str]]
) -> None:
    with closing(sqlite3.connect(trace)) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('tokentrace', 'm999', '')"
        )
        connection.commit()
    before = digest(trace)
    emitted.clear()
    with Tracer(trace) as tracer:
        agent = Agent(tracer)
        for _ in range(20):
            agent.work()
        assert tracer.flush(20)
    assert sum(tracer.losses.values()) == len(emitted)
    agent.check()
    assert digest(trace) == before
    assert kept(trace) == []
    assert {path.name for path in trace.parent.glob("traces.db*")} == {"traces.db"}
    assert "newer tokentrace" in said()[0]


def test_a_file_of_somebody_elses_is_written_to_and_not_moved(
    db: Path, rows: Rows, said: Callable[[], list[str]]
) -> None:
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("create table theirs (x)")
        connection.execute("insert into theirs values (1)")
        connection.commit()
    with Tracer(db) as tracer:
        Agent(tracer).work()
    assert rows("select x from theirs") == [(1,)]
    assert rows("select count(*) from runs") == [(1,)]
    assert said() == []


@pytest.mark.parametrize(
    "damage", [as_text, schema_overwritten, cut_in_half], ids=lambda damage: damage.__name__
)
def test_many_processes_that_find_a_damaged_file_at_once_move_it_once_and_never_the_new_one(
    tmp_path: Path,
    damage: Callable[[Path], None],
    start: Callable[..., BaseProcess],
    rows: Rows,
    length: Callable[[int, int], int],
    figures: Callable[..., None],
) -> None:
    rounds, processes = length(1, 40), 6
    for number in range(rounds):
        db, journals = (
            tmp_path / f"{number}.db",
            [tmp_path / f"{number} {place}" for place in range(processes)],
        )
        with Tracer(db) as tracer:
            agent = Agent(tracer)
            for _ in range(50):
                agent.work()
        damage(db)
        before, go = digest(db), tmp_path / f"go {number}"
        children = [start(programs.record_when_told, db, journal, go) for journal in journals]
        go.touch()
        for child in children:
            child.join(60)
        assert [journal.read_text().split()[1:3] for journal in journals] == [["closed", "0"]] * processes
        assert [digest(aside) for aside in kept(db)] == [before]
        assert rows("select count(*) from runs where status = 'success'", db) == [(processes * 10,)]
        assert rows("pragma integrity_check", db) == [("ok",)]
    figures(rounds=rounds, processes=processes, moved_twice=0, rows_missing=0)


@pytest.mark.parametrize("damage", [as_text, pages_flipped, cut_in_half], ids=lambda damage: damage.__name__)
def test_a_file_damaged_while_it_is_written_does_not_reach_the_agent(
    db: Path, damage: Callable[[Path], None]
) -> None:
    with Tracer(db) as tracer:
        agent = Agent(tracer)
        agent.work_for(0.1)
        assert tracer.flush(20)
        damage(db)
        agent.work_for(0.3)
        assert tracer.flush(20)
    agent.check()
    with Tracer(db) as tracer:  # whatever became of it, the next one can write
        agent = Agent(tracer)
        agent.work()
        assert tracer.flush(20)
        assert tracer.losses == {}
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("select count(*) from runs where status = 'success'").fetchone()[0] >= 1
