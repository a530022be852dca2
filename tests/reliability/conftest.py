"""Fixtures of the campaigns: how long they are, processes that are killed, and where their figures go."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tokentrace_core.store import lease

T = TypeVar("T")

#: Environment variables: the full campaigns, and their figures at the end.
FULL = "TOKENTRACE_FULL_CAMPAIGNS"
FIGURES = "TOKENTRACE_FIGURES"

_figures = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_figures] = []


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if os.environ.get(FIGURES) and config.stash[_figures]:
        terminalreporter.section("figures")
        for line in config.stash[_figures]:
            terminalreporter.line(line)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Say what a campaign showed: `figures(kills=100, lost=0)`."""

    def say(**values: Any) -> None:
        told = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in values.items())
        request.config.stash[_figures].append(f"{request.node.name}: {told}")

    return say


@pytest.fixture
def length() -> Callable[[T, T], T]:
    """How much of a campaign: `length(short, full)`."""
    return lambda short, full: full if os.environ.get(FULL) else short


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition; a test that waits in vain fails."""

    def wait(true: Callable[[], object], timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not true():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)

    return wait


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the log got from us."""
    caplog.set_level(logging.WARNING, logger="tokentrace")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tokentrace"]


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[..., BaseProcess]]:
    """Run a function of `programs` in a process of its own; none outlives the test.

    Forked from a server that has everything imported: a campaign starts hundreds.
    """
    begun: list[BaseProcess] = []
    server = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    if sys.platform != "win32":
        server.set_forkserver_preload(["tests.reliability.programs"])

    def run(function: Callable[..., None], *args: Any) -> BaseProcess:
        child = server.Process(target=function, args=args, daemon=True)
        child.start()
        begun.append(child)
        return child

    yield run
    for child in begun:
        if child.is_alive():
            child.kill()
        child.join(10)


@pytest.fixture
def all_are_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every lease has run out as soon as it is read: for tests that have just killed whoever holds one."""
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 0)


@pytest.fixture
def rows(db: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """As any SQLite user would read the file."""

    def read(sql: str, path: Path = db) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    return read


@pytest.fixture
def emitted() -> Iterator[set[tuple[str, str]]]:
    """Every span and session that was announced in this process, once."""
    from tokentrace_core import signals

    seen: set[tuple[str, str]] = set()

    def hear(_: object, **fact: Any) -> None:
        for span in fact.values():
            seen.add((span.table, span.id))

    for signal in signals.CARRIES:
        signal.connect(hear)
    yield seen
    for signal in signals.CARRIES:
        signal.disconnect(hear)


@pytest.fixture
def script(db: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a Python of its own; it finds `db` and tokentrace."""

    def run(source: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        head = f"import os, sys, threading, time\nfrom tokentrace_core import *\ndb = {str(db)!r}\n"
        return subprocess.run(
            # Python 3.12 warns of any fork of a process that has threads.
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + textwrap.dedent(source)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
