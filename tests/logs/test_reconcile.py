"""The log and the trace file tell the same: the same runs, and the same money to the nano-dollar."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.travel.programs import ask_a_model
from tokentrace_core import Budget, BudgetExceeded, Tracer, Usage
from tokentrace_core.analysis.spending import spending
from tokentrace_core.cli.figures import iso
from tokentrace_core.logs import RunLog, attach
from tokentrace_core.logs.reading import LogFiles
from tokentrace_core.logs.report import report
from tokentrace_core.store.reader import Reader

Lines = Callable[..., list[dict[str, Any]]]
NANO = 1_000_000_000


async def agent(tracer: Tracer, number: int) -> None:
    """One of many at once: calls of all sorts and prices, tools that charge, failures, calls without a price."""
    models = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "nobodys-model")
    with suppress(LookupError), tracer.run("agent", user=f"user-{number % 7}") as run:
        for step_number in range(1 + number % 3):
            with run.step() as step:
                with step.llm(models[(number + step_number) % 4], messages=[str(number)]) as call:
                    await asyncio.sleep(0)
                    usage = Usage(input_uncached_tokens=number * 7 + 1, output_tokens=number % 11)
                    call.done("Well.", usage=usage if number % 5 else None)
                with step.tool("search") as tool:
                    await asyncio.sleep(0)
                    tool.done(cost_usd=Decimal(number) / NANO if number % 2 else None)
        if number % 10 == 0:
            with run.llm("gpt-4o"):
                raise LookupError


def test_of_a_thousand_runs_at_once_log_and_database_have_the_same_ids_and_the_same_money(
    tracer: Tracer, log: RunLog, path: Path, stored: Callable[[], Reader], lines: Lines
) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(agent(tracer, number) for number in range(1_000)))

    asyncio.run(all_at_once())
    in_database = {run["id"]: run["cost_nano_usd"] for run in stored().runs(10_000)}
    in_log: Counter[str] = Counter()
    as_text: Counter[str] = Counter()
    for line in lines():
        in_log[line["trace_id"]] += line.get("cost_nano_usd") or 0
        as_text[line["trace_id"]] += int(Decimal(line.get("cost_usd") or 0) * NANO)
    assert len(in_database) == 1_000
    assert dict(in_log) == in_database
    assert dict(as_text) == in_database
    assert sum(in_log.values()) == sum(in_database.values()) > 0
    of_files = report(LogFiles([path]))
    assert (of_files.nano_usd, of_files.runs) == (sum(in_database.values()), set(in_database))


def test_cost_per_user_and_day_errors_and_latency_are_those_of_the_database(
    tracer: Tracer, log: RunLog, path: Path, stored: Callable[[], Reader], lines: Lines
) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(agent(tracer, number) for number in range(100)))

    asyncio.run(all_at_once())
    found, reader = report(LogFiles([path])), stored()
    of_users = {row.key: row.cost_nano_usd for row in spending(reader, ["day", "user"]).rows}
    assert {key: spent.nano_usd for key, spent in found.spent.items()} == of_users
    models = reader.query(
        "select model, count(*) as calls, sum(status = 'failure') as errors from calls group by 1"
    )
    assert {name: (calls.calls, calls.errors) for name, calls in found.models.items()} == {
        row["model"]: (row["calls"], row["errors"]) for row in models
    }
    ended = [line["timestamp"] for line in lines("llm.complete", "llm.error")]
    told = reader.query("select ended_at from llm_calls order by ended_at")
    assert sorted(ended) == [iso(row["ended_at"]) for row in told], "a line has the time of what it tells"
    latencies = sorted(
        row["ms"] for row in reader.query("select (ended_at - started_at) / 1000.0 as ms from tool_calls")
    )
    assert found.tools["search"].p95_ms == pytest.approx(latencies[-(-95 * len(latencies) // 100) - 1])


def test_a_stopped_runs_money_is_in_the_log_once(db: Path, path: Path) -> None:
    with Tracer(db, budget=Budget(steps=2)) as tracer:
        attach(tracer, path)
        with tracer.run("agent") as run:
            ask_a_model(run)
            ask_a_model(run)
            for _ in range(3):
                with pytest.raises(BudgetExceeded):
                    ask_a_model(run)
        assert tracer.flush(10)
        with Reader(db) as reader:
            [row] = reader.runs()
    found = report(LogFiles([path]))
    assert found.nano_usd == row["cost_nano_usd"]
    assert found.refused == {"steps": 3}


def kill_oneself(db: str, path: str) -> None:
    tracer = Tracer(db)
    attach(tracer, path)
    with tracer.run("agent") as run:
        ask_a_model(run)
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_log_of_a_killed_process_has_all_that_it_had_paid_for(db: Path, path: Path, lines: Lines) -> None:
    child = multiprocessing.get_context("spawn").Process(target=kill_oneself, args=(str(db), str(path)))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert [line.get("cost_nano_usd") for line in lines("llm.complete")] == [3_500_000]


def test_the_log_goes_on_while_the_database_is_out_of_reach(db: Path, path: Path, lines: Lines) -> None:
    with Tracer(db) as tracer:
        attach(tracer, path)
        assert tracer.flush(10)
        with closing(sqlite3.connect(db, isolation_level=None)) as other:
            other.execute("begin exclusive")
            with tracer.run("agent") as run:
                ask_a_model(run)
            assert [line["message"] for line in lines()][-1] == "run.end"


def write_runs(db: str, path: str, number: int) -> None:
    with Tracer(f"{db}.{number}") as tracer:
        attach(tracer, path)
        for _ in range(40):
            with tracer.run("agent " + "x" * 200 * number) as run:
                ask_a_model(run)


def test_eight_processes_write_one_log_and_every_line_is_whole(db: Path, path: Path) -> None:
    children = [
        multiprocessing.get_context("fork").Process(target=write_runs, args=(str(db), str(path), number))
        for number in range(8)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert Counter(line["message"] for line in found) == dict.fromkeys(
        ("run.start", "llm.complete", "step.complete", "run.end"), 320
    )
