"""The examples run, keyless and offline, and leave a trace that can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokentrace_core.store.reader import Reader

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("[0-9]*.py"))


def test_the_examples_are_there() -> None:
    assert [example.name[:2] for example in EXAMPLES] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_recorded(example: Path, tmp_path: Path) -> None:
    db = tmp_path / "traces.db"
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=tmp_path,
        env=os.environ | {"TOKENTRACE_DB": str(db)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    with Reader(db) as reader:
        runs = reader.runs()
        assert runs
        assert all(run["status"] in ("success", "failure") and run["llm_calls"] for run in runs)
