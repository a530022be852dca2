"""Fixtures that every test may use: a loopback provider, a tracer on a file of its own, and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from pytest_socket import socket_allow_hosts

from tests.loopback import fixtures
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

server = fixtures.server

# How long an example takes is the machine's affair.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loopback needs none, and a client that reads those of the world takes 30 ms to be made, each time."""
    return tmp_path_factory.mktemp("no-certificates")


@pytest.fixture(autouse=True)
def _no_network_and_no_keys(monkeypatch: pytest.MonkeyPatch, no_certificates: Path) -> None:
    """Nothing but loopback can be reached, and clients get keys that no provider would take."""
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "test-key")
    monkeypatch.setenv("SSL_CERT_DIR", str(no_certificates))
    for name in ("SSL_CERT_FILE", "TOKENTRACE_DB", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """Where this test's traces go."""
    return tmp_path / "traces.db"


@pytest.fixture
def tracer(db: Path) -> Iterator[Tracer]:
    """A tracer without a budget."""
    with Tracer(db) as tracer:
        yield tracer


@pytest.fixture
def stored(tracer: Tracer) -> Iterator[Callable[[], Reader]]:
    """Call it after the recording: waits until all is in the file, and reads that."""
    with ExitStack() as open_readers:

        def read() -> Reader:
            assert tracer.flush(10)
            return open_readers.enter_context(Reader(tracer.path))

        yield read
