"""Limits that runs and processes share: one user's day is one day, however many agents work on it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Budget, BudgetExceeded, ModelPrice, PriceBook, Tracer, Usage, account
from tokentrace_core.store import lease, ledger

#: A cent per call: nothing for the prompt, 100 tokens of reply at 100 $ per million.
CENT = PriceBook({"cent": ModelPrice(input=0, output=100)})
REPLY = Usage(input_uncached_tokens=10, output_tokens=100)
CENT_NANO = 10_000_000

Make = Callable[..., Tracer]


@pytest.fixture
def make(db: Path) -> Iterator[Make]:
    """Tracers on the test's file, with these limits."""
    made: list[Tracer] = []

    def tracer(path: Path = db, **limits: Any) -> Tracer:
        made.append(Tracer(path, budget=Budget(**limits), prices=CENT))
        return made[-1]

    yield tracer
    for each in made:
        each.close()


def spend(tracer: Tracer, calls: int, **whose: Any) -> int:
    """One run of so many calls of a cent; how many of them were made."""
    made = 0
    with suppress(BudgetExceeded), tracer.run("agent", **whose) as run:
        for _ in range(calls):
            with run.llm("cent") as call:
                call.done(None, usage=REPLY)
            made += 1
    return made


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute(sql).fetchall()


def spent_in(db: Path) -> int:
    [(nano,)] = rows(db, "select coalesce(sum(cost_nano_usd), 0) from runs")
    return int(nano)


# ── whose limit it is ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [
        ("user_day_usd", {"user": "ada"}, {"user": "bob"}),
        ("session_usd", {"session": "s1"}, {"session": "s2"}),
        ("user_day_usd", {}, {"user": "bob"}),
    ],
    ids=["user", "session", "without a user"],
)
def test_a_second_run_of_the_same_one_finds_what_the_first_has_left(
    make: Make, scope: str, same: dict[str, str], other: dict[str, str]
) -> None:
    tracer = make(**{scope: "0.05"})
    assert [spend(tracer, 3, **same), spend(tracer, 3, **same), spend(tracer, 3, **same)] == [3, 2, 0]
    assert spend(tracer, 3, **other) == 3


def test_a_project_shares_its_month(make: Make) -> None:
    tracer = make(project_month_usd="0.02")
    assert [spend(tracer, 3, user="ada"), spend(tracer, 3, user="bob")] == [2, 0]


def test_the_refusal_says_whose_limit_it_was_how_much_and_the_way_out(make: Make) -> None:
    tracer = make(user_day_usd="0.01")
    spend(tracer, 1, user="ada")
    with tracer.run("agent", user="ada") as run, pytest.raises(BudgetExceeded) as caught:
        run.llm("cent").__enter__()
    error = caught.value
    assert (error.scope, error.spent, error.limit) == ("user_day_usd", Decimal("0.01"), Decimal("0.01"))
    assert "spent $0.0100 of $0.0100; nothing is left" in str(error)
    assert "Raise Budget(user_day_usd=...) for user 'ada' on" in str(error)


def test_ids_that_look_the_same_are_one_user(make: Make) -> None:
    """Else a user has two days' limits, by the keyboard they type on."""
    tracer = make(user_day_usd="0.02")
    name = "Zoë"
    assert spend(tracer, 2, user=unicodedata.normalize("NFD", name)) == 2
    assert spend(tracer, 2, user=unicodedata.normalize("NFC", name)) == 0


def test_all_limits_hold_at_once_and_the_narrowest_stops(make: Make) -> None:
    tracer = make(run_usd="0.04", session_usd="0.05", user_day_usd="0.07", steps=100)
    assert [spend(tracer, 9, session="s", user="ada") for _ in range(3)] == [4, 1, 0]
    assert [spend(tracer, 9, session="t", user="ada") for _ in range(2)] == [2, 0]
    assert spend(tracer, 9, session="u", user="bob") == 4


def test_a_run_that_a_shared_limit_stopped_stays_stopped(make: Make) -> None:
    tracer = make(user_day_usd="0.01")
    with tracer.run("agent", user="ada") as run:
        with run.llm("cent") as call:
            call.done(None, usage=REPLY)
        for _ in range(2):
            with pytest.raises(BudgetExceeded):
                run.llm("cent").__enter__()
    assert tracer.flush(10)
    [(_, attributes)] = rows(tracer.path, "select status, attributes from llm_calls where status = 'refused'")
    assert '"budget_scope":"user_day_usd"' in attributes
    assert '"budget_stop":true' in attributes
    assert rows(tracer.path, "select status, error_type from runs") == [("failure", "budget_exceeded")]


def test_what_a_tool_charges_counts_for_the_day(make: Make) -> None:
    tracer = make(user_day_usd="0.03")
    with tracer.run("agent", user="ada") as run, run.tool("search") as tool:
        tool.done("found", cost_usd="0.02")
    assert tracer.flush(10)
    assert spend(tracer, 9, user="ada") == 1


def test_the_file_does_not_say_whose_limits_it_keeps(make: Make) -> None:
    """Else what a user spent is theirs for ever, even when they are deleted."""
    tracer = make(user_day_usd=1)
    spend(tracer, 1, user="ada@example.org")
    assert tracer.flush(10)
    assert "ada" not in repr(rows(tracer.path, "select * from budget_ledger"))


# ── days ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_day_begins_at_midnight_utc_and_a_clock_set_back_gives_no_second_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr(account, "_now", lambda: now)
    tracer = make(user_day_usd="0.02", project_month_usd="0.05")
    assert spend(tracer, 9, user="ada") == 2
    now = datetime(2027, 1, 1, 0, 0, 0, tzinfo=UTC)
    assert spend(tracer, 9, user="ada") == 2
    now = datetime(2026, 12, 31, 22, 0, 0, tzinfo=UTC)
    assert spend(tracer, 9, user="ada") == 0
    assert spend(tracer, 9, user="bob") == 2
    assert spend(tracer, 9, user="cyd") == 1  # the rest of December


def test_a_call_that_began_before_midnight_counts_for_the_day_it_began_in(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr(account, "_now", lambda: now)
    tracer = make(user_day_usd="0.01")
    with tracer.run("agent", user="ada") as run, run.llm("cent") as call:
        now = datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC)
        call.done(None, usage=REPLY)
    assert spend(tracer, 9, user="ada") == 1


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────

WORKER = """
    import random, sys, threading
    from contextlib import suppress
    from tokentrace_core import *
    tracer = Tracer({db!r}, budget=Budget({limits}), prices=PriceBook({{"m": ModelPrice(input=0, output=1_000)}}))
    dice = random.Random({seed})

    def work(number):
        with suppress(BudgetExceeded), tracer.run("agent", user="ada") as run:
            while True:
                with run.llm("m") as call:
                    call.done(None, usage=Usage(input_uncached_tokens=1, output_tokens=dice.randrange(50, 400)))

    threads = [threading.Thread(target=work, args=[number]) for number in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    tracer.close(30)
"""


def work_in_processes(db: Path, processes: int, **limits: Any) -> None:
    source = textwrap.dedent(WORKER)
    given = ", ".join(f"{name}={value!r}" for name, value in limits.items())
    started = [
        subprocess.Popen([sys.executable, "-c", source.format(db=str(db), limits=given, seed=seed)])
        for seed in range(processes)
    ]
    assert [each.wait(120) for each in started] == [0] * processes


def test_p12_fifty_runs_of_one_user_in_five_processes_spend_one_day_and_nearly_all_of_it(db: Path) -> None:
    """Ten dollars a day; a call costs between 5 and 40 cents, which nobody knows before."""
    work_in_processes(db, 5, user_day_usd=10)
    spent = spent_in(db)
    [(in_ledger, left_over)] = rows(
        db, "select spent_nano_usd, (select count(*) from reservations) from budget_ledger"
    )
    assert in_ledger == spent, "the ledger and the calls tell different stories"
    assert left_over == 0
    most_in_flight_is_wrong = 50 * 400_000_000
    assert spent <= 10_000_000_000 + most_in_flight_is_wrong
    assert spent <= 11_500_000_000, "more than the guess about a few calls is wrong"
    assert spent >= 9_500_000_000, "a twentieth of the day was never usable"


@pytest.mark.parametrize("limits", [{"run_usd": "0.25"}, {"steps": 25}, {"tokens": 25 * 110}])
def test_parallel_branches_of_one_run_share_its_limit(make: Make, limits: dict[str, Any]) -> None:
    """A check without a reservation lets all branches see the same rest."""
    tracer = make(**limits, user_day_usd=100)
    with tracer.run("agent", user="ada") as run:

        def branch(_: int) -> int:
            made = 0
            with suppress(BudgetExceeded):
                while True:
                    with run.llm("cent") as call:
                        call.done(None, usage=REPLY)
                    made += 1
            return made

        with ThreadPoolExecutor(10) as pool:
            made = sum(pool.map(branch, range(10)))
    assert made == 25
    assert run.steps == 25


# ── a process that dies ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "DEAD_AFTER_S", 2)
    monkeypatch.setattr(lease, "BEAT_S", 0.5)


HOLDER = """
    import os, signal, time
    from tokentrace_core import *
    from tokentrace_core.store import lease
    lease.DEAD_AFTER_S, lease.BEAT_S = 2, 0.5
    tracer = Tracer({db!r}, budget=Budget(user_day_usd="0.03"), prices=PriceBook({{"m": ModelPrice(input=0, output=100)}}))
    with tracer.run("agent", user="ada") as run:
        run.llm("m", max_tokens=200).begin()   # two cents
        tracer.flush()
        print("holding", flush=True)
        time.sleep({seconds})
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("quick_leases")
def test_what_a_killed_process_had_set_aside_is_free_again_and_not_before(db: Path, make: Make) -> None:
    source = textwrap.dedent(HOLDER).format(db=str(db), seconds=4)
    holder = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    tracer = make(user_day_usd="0.03")
    time.sleep(2.5)  # longer than a lease: it is alive and has renewed it
    assert spend(tracer, 3, user="ada") == 1, "two of three cents are held"
    assert holder.wait(30) == -9
    deadline = time.monotonic() + 30
    while not spend(tracer, 1, user="ada") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert tracer.flush(10)
    assert spent_in(db) == 2 * CENT_NANO


# ── a file that cannot be asked ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def locked(db: Path) -> Iterator[Callable[[], None]]:
    """Lock the file until the test is over."""
    with closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as other:
        yield lambda: other.execute("begin immediate") and None


def test_while_the_file_cannot_be_asked_a_shared_limit_blocks(
    make: Make, locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE_S", 0.2)
    tracer = make(user_day_usd=1)
    assert tracer.flush(10)
    locked()
    with pytest.raises(BudgetExceeded, match=r"cannot be asked .*on_unavailable='allow'"):
        with tracer.run("agent", user="ada") as run, run.llm("cent"):
            pass


def test_a_user_who_wants_it_goes_on_while_the_file_cannot_be_asked(
    make: Make, locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE_S", 0.2)
    tracer = make(user_day_usd="0.01", run_usd="0.02", on_unavailable="allow")
    assert tracer.flush(10)
    locked()
    assert spend(tracer, 9, user="ada") == 2, "the run's own limit holds without the file"


def test_what_was_spent_while_the_file_could_not_be_asked_is_counted_later(
    make: Make, monkeypatch: pytest.MonkeyPatch, db: Path
) -> None:
    monkeypatch.setattr(ledger, "PATIENCE_S", 0.2)
    tracer = make(user_day_usd="0.05", on_unavailable="allow")
    assert tracer.flush(10)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert spend(tracer, 3, user="ada") == 3
    assert tracer.flush(30)
    assert spend(tracer, 9, user="ada") == 2


def test_a_call_that_waits_for_the_ledger_holds_up_no_other_run(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one locked file stops every agent of the process."""
    tracer = make(user_day_usd=1)
    waiting, answer = threading.Event(), threading.Event()
    ask = ledger.FileLedger.reserve

    def slow(self: Any, *shares: Any) -> Any:
        waiting.set()
        assert answer.wait(30)
        return ask(self, *shares)

    monkeypatch.setattr(ledger.FileLedger, "reserve", slow)
    calling = threading.Thread(target=spend, args=[tracer, 1])
    calling.start()
    assert waiting.wait(30)
    with tracer.run("another") as run, run.tool("search") as tool:
        tool.done("found")
    assert run.status == "success"
    answer.set()
    calling.join(30)
    assert not calling.is_alive()


def test_a_run_that_ends_while_its_call_waits_for_the_ledger_leaves_nothing_open_and_nothing_reserved(
    make: Make, monkeypatch: pytest.MonkeyPatch, db: Path
) -> None:
    tracer = make(user_day_usd=1)
    recorder = tracer.recorder
    recorder.open_run("run", "agent", user="ada")
    ask = ledger.FileLedger.reserve

    def and_close_the_run(self: Any, *shares: Any) -> Any:
        answer = ask(self, *shares)
        recorder.close_run("run")
        return answer

    monkeypatch.setattr(ledger.FileLedger, "reserve", and_close_the_run)
    recorder.open_llm("call", parent="run", model="cent")
    monkeypatch.undo()
    recorder.close_llm("call", usage=REPLY)
    assert tracer.flush(10)
    assert recorder.open_parts == 0
    assert rows(db, "select status, llm_calls from runs order by started_at") == [
        ("success", 0),
        ("success", 1),
    ]
    [standing] = [
        row for row in rows(db, "select spent_nano_usd from budget_ledger") if row[0]
    ]  # of nobody, as the call was outside any run by then
    assert standing == (CENT_NANO,)
    spend(tracer, 1)
    assert tracer.flush(10)
    assert rows(db, "select count(*) from reservations") == [(0,)]


def test_a_forked_child_asks_the_ledger_over_a_connection_of_its_own(db: Path, make: Make) -> None:
    make(user_day_usd="0.03")
    source = textwrap.dedent("""
        import os
        from contextlib import suppress
        from tokentrace_core import *
        tracer = Tracer(DB, budget=Budget(user_day_usd="0.03"), prices=PriceBook({"m": ModelPrice(input=0, output=100)}))

        def spend(calls):
            with suppress(BudgetExceeded), tracer.run("agent", user="ada") as run:
                for _ in range(calls):
                    with run.llm("m") as call:
                        call.done(None, usage=Usage(input_uncached_tokens=1, output_tokens=100))

        spend(1)
        if (child := os.fork()) == 0:
            spend(1)
            tracer.close()
            os._exit(0)
        os.waitpid(child, 0)
        spend(5)
        tracer.close()
    """).replace("DB", repr(str(db)))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert spent_in(db) == 3 * CENT_NANO
