"""What the canaries need: logs that say everything every time, and keys and state that are this test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

import tests.integrations.crewai.quiet  # noqa: F401
from tokentrace_core import call_blocks, redaction_logs, shield
from tokentrace_core.redact import Redactor


class Forgetful(set[Any]):
    """What was said once is said again."""

    def __contains__(self, said: object) -> bool:
        return False


@pytest.fixture(autouse=True)
def _everything_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shield, "_logged", Forgetful())
    monkeypatch.setattr(call_blocks, "_said", Forgetful())
    monkeypatch.setattr(redaction_logs._lines, "redactors", WeakSet())  # those of tests before this one
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "traces" / "state"))
    monkeypatch.delenv("TOKENTRACE_HASH_KEY", raising=False)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """In a folder of its own: whatever else is in there, we have made."""
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder / "traces.db"


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop serves all tests: clients keep connections, which live in the loop they began in."""
    with asyncio.Runner() as runner:
        yield runner


class Blind(Redactor):
    """Lets everything through: what a test finds with it in place was on its way."""

    def redact(self, text: str) -> str:
        return text

    def redact_value(self, value: Any) -> Any:
        return value

    def person(self, user: str) -> str:
        return user

    def session(self, name: str) -> str:
        return name

    def policy(self, field: Any) -> Any:
        return self


@pytest.fixture
def blind() -> Redactor:
    return Blind()
