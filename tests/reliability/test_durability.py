"""`durability="full"`: what a flush has promised is on the disk, and not only with the operating system."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tokentrace_core import Tracer

FLUSHES = 5
PROGRAM = """
import os, sys
from tokentrace_core import Tracer
tracer = Tracer(sys.argv[1], durability=sys.argv[2])
tracer.flush()
for number in range({flushes}):
    with tracer.run("agent"):
        pass
    assert tracer.flush()
    os.write(2, b"FLUSHED")
"""


@pytest.mark.parametrize(("durability", "synchronous"), [("normal", 1), ("full", 2)])
def test_the_connection_syncs_as_was_asked(db: Path, durability: str, synchronous: int) -> None:
    with Tracer(db, durability=durability) as tracer:  # type: ignore[arg-type]
        assert tracer.flush(10)
        connection = tracer._writer._file.open().conn
        assert connection.execute("pragma synchronous").fetchone() == (synchronous,)
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_flush_returns_after_its_log_is_on_the_disk(
    db: Path, tmp_path: Path, figures: Callable[..., None]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed; that the connection syncs is tested above")
    synced = {
        durability: syncs_before_each_flush(db, tmp_path, durability) for durability in ("full", "normal")
    }
    assert len(synced["full"]) == FLUSHES
    assert min(synced["full"]) >= 1
    assert sum(synced["normal"]) < FLUSHES
    figures(flushes=FLUSHES, syncs_before_each=synced["full"], with_normal=synced["normal"])


def syncs_before_each_flush(db: Path, tmp_path: Path, durability: str) -> list[int]:
    """How often the log was synced between one promise and the next."""
    trace = tmp_path / f"{durability}.strace"
    program = [sys.executable, "-c", PROGRAM.format(flushes=FLUSHES), f"{db}.{durability}", durability]
    calls = "trace=fsync,fdatasync,write"
    done = subprocess.run(
        ["strace", "-f", "-y", "-e", calls, "-o", trace, *program],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("this process may not be traced")
    assert done.returncode == 0, done.stderr
    counts = [0]
    for line in trace.read_text().splitlines():
        if '"FLUSHED"' in line:
            counts.append(0)
        elif re.search(r"f(data)?sync\(\d+<[^>]*-wal>", line):
            counts[-1] += 1
    return counts[:-1]
