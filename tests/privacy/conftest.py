"""Fixtures of the privacy tests: the command line and scripts in processes of their own, as users run them.

Of their own because the raw files are looked at: a process that opens a SQLite file beside SQLite takes its locks away.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.privacy import big_file
from tokentrace_core.store.connection import use_key

Command = Callable[..., subprocess.CompletedProcess[str]]
Killed = Callable[..., int]

PYTHON = [sys.executable, "-m", "tokentrace_core.cli"]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, db: Path) -> Iterator[None]:
    monkeypatch.delenv("TOKENTRACE_KEY", raising=False)
    yield
    use_key(db, None)


@pytest.fixture
def command(db: Path) -> Command:
    """`tokentrace ...` on this test's file."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYTHON, "--db", str(db), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def answer(command: Command) -> Callable[..., Any]:
    """What a command says with --json."""

    def ask(*arguments: str, **environment: str) -> Any:
        done = command(*arguments, "--json", **environment)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def killed(db: Path) -> Killed:
    """Run a command and kill -9 it after so many seconds, counted from when `once` is there; its exit code."""

    def run(*arguments: str, after: float, once: Path | None = None, **environment: str) -> int:
        with subprocess.Popen(
            [*PYTHON, "--db", str(db), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **environment},
        ) as process:
            while once is not None and not once.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
            return process.wait(30)

    return run


@pytest.fixture
def script(db: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a script in a Python of its own; it finds `db` and tokentrace."""

    def run(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
        head = f"import os, signal, sys, time\nfrom tokentrace_core import *\ndb = {str(db)!r}\n"
        return subprocess.run(
            [sys.executable, "-c", head + textwrap.dedent(source)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture
def many_users(db: Path) -> Path:
    """400 runs of 20 users, one of whom is `VICTIM`."""
    big_file.make(db, runs=400, users=20)
    return db


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rotations", type=int, default=3, help="How many changes of keys are killed.")
