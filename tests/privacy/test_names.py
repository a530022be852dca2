"""Whose runs they are: a private id is not in the file, and yet its owner is found by it, across processes and restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.privacy.big_file import hits
from tokentrace_core import Budget, ModelPrice, PriceBook, Redactor, Tracer

Ask = Callable[..., Any]
PRIVATE = {"user": "ada@example.com", "session": "call from +1 415-555-2671"}


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def record(db: Path, redactor: Redactor | None = None) -> None:
    prices = PriceBook({"small": ModelPrice(input=1, output=10)})
    with Tracer(db, prices=prices, redactor=redactor, budget=Budget(user_day_usd=1)) as tracer:
        for whose in (PRIVATE, {"user": "grace", "session": "ticket-7"}):
            with tracer.run("triage", **whose) as run, run.llm("small", messages="x") as call:
                call.done("y")


def test_r6_a_private_id_is_in_no_byte_and_its_owner_has_one_account_in_all_processes(
    db: Path, answer: Ask
) -> None:
    record(db)
    record(db)
    assert hits(db, list(PRIVATE.values())) == {}
    runs = answer("runs")["runs"]
    names = {run["user_id"] for run in runs}
    assert len(names) == 2
    assert "grace" in names
    assert len({run["session_id"] for run in runs}) == 2


def test_a_question_about_a_person_takes_the_id_that_the_program_gave(db: Path, answer: Ask) -> None:
    record(db)
    total = answer("cost")["total"]
    theirs = [
        answer("cost", *narrowed)["total"]
        for narrowed in (
            ("--user", PRIVATE["user"]),
            ("--where", f"session={PRIVATE['session']}"),
            ("--user", "grace"),
        )
    ]
    assert [part["runs"] for part in theirs] == [1, 1, 1]
    assert total["runs"] == 2


def test_ids_that_the_user_has_decided_to_store_are_stored(db: Path, answer: Ask) -> None:
    record(db, Redactor(fields={"user_id": "store"}))
    assert {run["user_id"] for run in answer("runs")["runs"]} == {PRIVATE["user"], "grace"}
