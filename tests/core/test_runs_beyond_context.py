"""Where a run's context does not reach by itself: threads, forks, and what comes after its end."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Budget, BudgetExceeded, Tracer, shield
from tokentrace_core.analysis.spending import spending
from tokentrace_core.store.reader import Reader

REPLY = {
    "model": "gpt-4o",
    "choices": [{"message": {"role": "assistant", "content": "a"}}],
    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
}


@pytest.fixture
def stingy(db: Path) -> Any:
    with Tracer(db, budget=Budget(steps=3)) as tracer:
        yield tracer


@pytest.fixture
def ask(stingy: Tracer) -> Callable[[str], Any]:
    @stingy.llm("gpt-4o")
    def ask(prompt: str) -> Any:
        return REPLY

    return ask


def test_a_thread_pool_that_is_handed_the_run_spends_from_its_budget(
    stingy: Tracer, ask: Callable[[str], Any]
) -> None:
    sent: list[str] = []

    def work(question: str) -> None:
        try:
            ask(question)
        except BudgetExceeded:
            return
        sent.append(question)

    with stingy.run("agent") as run, ThreadPoolExecutor(4) as pool:
        list(pool.map(stingy.carry(work), map(str, range(50))))
    assert len(sent) == 3
    assert run.span is not None
    assert (run.span.llm_calls, run.span.status, run.span.error_type) == (3, "failure", "budget_exceeded")


def test_a_call_that_escapes_the_budget_of_an_open_run_is_warned_of(
    stingy: Tracer,
    ask: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shield, "_logged", set())
    with caplog.at_level(logging.WARNING, "tokentrace"), stingy.run("agent"), ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, "abcd"))
    [warning] = [record.message for record in caplog.records if "outside any run" in record.message]
    assert "tracer.carry(function)" in warning


def test_a_stopped_run_stays_stopped_when_the_tracer_is_closed_under_it(
    stingy: Tracer, ask: Callable[[str], Any]
) -> None:
    sent = 0
    with pytest.raises(BudgetExceeded), stingy.run("agent"):  # noqa: PT012
        for turn in range(8):
            if turn == 5:
                stingy.close()
            try:
                ask("next")
                sent += 1
            except BudgetExceeded:
                continue
        ask("last")
    assert sent == 3


def test_what_a_forked_child_records_is_its_own_and_leaves_its_parents_run_alone(db: Path) -> None:
    script = f"""
import os
from tokentrace_core import Tracer
reply = {REPLY!r}
tracer = Tracer({str(db)!r})
with tracer.run("parent", user="ada") as run:
    with tracer.llm("gpt-4o", messages="p") as call: call.done(reply)
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            with tracer.run("child", user="kid"):
                with tracer.llm("gpt-4o", messages="c") as call: call.done(reply)
            with tracer.llm("gpt-4o", messages="c alone") as call: call.done(reply)
            tracer.close()
            os._exit(0)
        children.append(child)
    for child in children: os.waitpid(child, 0)
    with tracer.llm("gpt-4o", messages="p2") as call: call.done(reply)
tracer.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with Reader(db) as reader:
        runs = reader.runs()
        assert sorted((run["name"], run["user_id"], run["llm_calls"]) for run in runs) == [
            *[("child", "kid", 1)] * 3,
            *[("gpt-4o", None, 1)] * 3,
            ("parent", "ada", 2),
        ]
        assert sum(run["cost_nano_usd"] for run in runs) == spending(reader).total.cost_nano_usd
        assert {run["status"] for run in runs} == {"success"}


def test_facts_of_an_unexpected_kind_cost_only_themselves(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    class Loud:
        def __str__(self) -> str:
            raise RuntimeError("do not ask me")

        __repr__ = __str__

    strange: Any = Loud()
    with tracer.run(
        "agent",
        user=strange,
        session=7,
        tags=strange,
        attributes=[1],
        environment=strange,
        task_type=3,  # type: ignore[arg-type]
    ) as run:
        with run.llm("gpt-4o", messages="hello", provider=strange) as call:
            call.done(REPLY)
        for cost in (-1, 1e30, "free"):
            with run.tool("lookup", tool_call_id=["odd"]) as tool:
                tool.done("found", cost_usd=cost, http_status="200 ada@example.com")  # type: ignore[arg-type]
    [row] = stored().runs()
    assert (row["session_id"], row["task_type"], row["llm_calls"], row["tool_calls"]) == ("7", "3", 1, 3)
    assert (row["unpriced_calls"], row["cost_nano_usd"], run.cost_usd) == (1, 0, 0)
    assert len(stored().tool_calls(row["id"])) == 3


def test_no_fact_beside_the_texts_is_stored_raw(db: Path) -> None:
    canary = "ada@example.com"
    with Tracer(db, project=f"of {canary}", environment=f"at {canary}") as tracer:
        with tracer.run("agent") as run:
            with run.llm("gpt-4o", messages="x", provider=f"p {canary}") as call:
                call.done(REPLY)
            with run.tool("t", tool_call_id=f"call {canary}", kind=f"k {canary}") as tool:
                tool.done("ok", http_status=canary)  # type: ignore[arg-type]
        assert tracer.flush(10)
        for part in (db, db.with_name(db.name + "-wal")):
            assert canary.encode() not in part.read_bytes()
