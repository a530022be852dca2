"""Opening a trace file: where nothing can be written too, and with a sentence where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tokentrace_core import StoreError, Tracer
from tokentrace_core.store.reader import Reader


@pytest.fixture
def unwritable(db: Path) -> Path:
    """A trace beside which SQLite can make no file, as on a read-only mount (but also for root)."""
    with Tracer(db) as tracer, tracer.run("agent"):
        pass
    for end in ("-wal", "-shm"):
        db.with_name(db.name + end).symlink_to("/nowhere/at/all")
    return db


def test_a_trace_where_nothing_can_be_written_is_read_all_the_same(unwritable: Path) -> None:
    with Reader(unwritable) as reader:
        assert [run["name"] for run in reader.runs()] == ["agent"]


def test_a_trace_that_is_not_all_in_its_file_says_why_it_cannot_be_read_there(unwritable: Path) -> None:
    copy = unwritable.with_name("live.db")
    with Tracer(copy) as tracer:
        with tracer.run("agent"):
            pass
        assert tracer.flush(10)
        unwritable.with_name(f"{unwritable.name}-wal").unlink()
        for end in ("", "-wal"):
            shutil.copy(f"{copy}{end}", f"{unwritable}{end}")
    with pytest.raises(StoreError, match=r"latest rows are in traces\.db-wal.* Copy traces\.db and traces"):
        Reader(unwritable)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "no file is named"),
        (".", r"\. is a directory"),
        ("/nowhere/traces.db", "there is no file /nowhere/traces.db"),
        ("~nosuchuser/x.db", "cannot be read"),
        ("nul\0.db", "no file nul|cannot be read"),
    ],
)
def test_a_path_without_a_file_is_answered_with_a_sentence(path: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        Reader(path)


def test_a_limit_wider_than_sqlite_counts_is_no_limit(db: Path) -> None:
    with Tracer(db) as tracer, tracer.run("agent"):
        pass
    with Reader(db) as reader:
        assert len(reader.runs(10**30)) == 1
