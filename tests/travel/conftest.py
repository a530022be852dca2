"""Fixtures of the tests of runs that travel: a service in a process of its own, and questions to it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Tracer

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def start_service(db: Path) -> Iterator[Callable[..., Call]]:
    """Start the service on these files, by default this test's; gives what calls it."""
    begun: list[subprocess.Popen[str]] = []

    def start(*files: Path) -> Call:
        service = subprocess.Popen(
            [sys.executable, "-m", "tests.travel.programs", *map(str, files or (db,))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun.append(service)
        assert service.stdout is not None
        url = f"http://127.0.0.1:{int(service.stdout.readline())}/"

        def call(tracer: Tracer, **question: Any) -> dict[str, Any]:
            request = tracer.inject(urllib.request.Request(url, json.dumps(question).encode()))
            with urllib.request.urlopen(request, timeout=60) as answer:
                found: dict[str, Any] = json.load(answer)
                return found

        return call

    yield start
    for service in begun:
        assert service.stdin is not None
        assert service.stdout is not None
        service.stdin.close()
        assert service.wait(20) == 0
        service.stdout.close()


@pytest.fixture
def service(start_service: Callable[..., Call]) -> Call:
    """Call the service: `service(tracer, worker=True)`. It writes to this test's file."""
    return start_service()


@pytest.fixture
def rows(db: Path) -> Callable[..., list[tuple[Any, ...]]]:
    """As any SQLite user would read the file."""

    def read(sql: str, path: Path = db) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    return read
