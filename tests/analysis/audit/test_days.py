"""An audit of a large file looks at each day once, and at some at a time: it says the same as if it had looked at all, every time."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis import weeks
from tests.analysis.audit.test_pages import told
from tokentrace_core import ModelPrice, PriceBook, Tracer, __version__
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import audit, beside, kept, trace
from tokentrace_core.analysis.audit.account import Account, Waste
from tokentrace_core.analysis.audit.context_rot import Beginning, Beginnings
from tokentrace_core.analysis.audit.expensive_model import ExpensiveModel, Kind
from tokentrace_core.analysis.audit.findings import Title, Wasted
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.analysis.audit.oversized_result import OversizedResult, Sizes
from tokentrace_core.analysis.audit.preamble import LEAST_REPLIES, Preamble
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.trace import Trace
from tokentrace_core.analysis.audit.unused_tools import Toolboxes, UnusedTools
from tokentrace_core.cli.demo.month import KINDS, write_month
from tokentrace_core.own_prices import Discount
from tokentrace_core.store import purge, repriced_file
from tokentrace_core.store.connection import use_key
from tokentrace_core.store.digest_table import DAY_US
from tokentrace_core.store.pieces import do_all
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.repricing import Question
from tokentrace_core.store.retention import Keeping, Retention
from tokentrace_core.store.upkeep import opened
from tokentrace_core.usage import Usage

DAYS = 30
BOOK = PriceBook()
#: Some days of the month, and runs of the days before and after them that reach into it.
NOON = int(datetime.now(UTC).timestamp()) * 1_000_000 // DAY_US * DAY_US - DAY_US // 2
SCOPES = {
    "ever": Scope(),
    "from noon to noon": Scope(since=NOON - 9 * DAY_US, until=NOON - 2 * DAY_US),
    "until midnight": Scope(until=NOON - 3 * DAY_US - DAY_US // 2),
    "an agent": Scope(where={"agent": ("support",)}),
}


@pytest.fixture(autouse=True)
def few_calls_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_LARGE", 1)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of waste, up to yesterday."""
    path = tmp_path_factory.mktemp("days") / "month.db"
    write_month(path, plant=KINDS, scale=0.3, days=DAYS)
    return path


@pytest.fixture
def file(month: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(month, tmp_path / "month.db"))


def plainly(path: Path, scope: Scope, prices: PriceBook = BOOK) -> list[Any]:
    """What an audit says that knows of no other."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trace, "_LARGE", 10**9)
        return told(audit(path, scope, prices=prices))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The days that are looked at in this process."""
    days: list[int] = []
    look_at = beside.look_at

    def noted(day: Any, *rest: Any) -> Any:
        days.append(day.number)
        return look_at(day, *rest)

    monkeypatch.setattr(beside, "look_at", noted)
    return days


# ── a day is looked at once ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scope", SCOPES)
def test_an_audit_says_the_same_the_first_time_and_again(file: Path, scope: str) -> None:
    expected = plainly(file, SCOPES[scope])
    assert len(expected) > 3
    for _ in range(2):
        assert told(audit(file, SCOPES[scope], prices=BOOK)) == expected
    audit(file, Scope(), prices=BOOK)
    assert told(audit(file, SCOPES[scope], prices=BOOK)) == expected, "from days that another audit has left"


def test_days_that_are_over_are_looked_at_once(file: Path, looked_at: list[int]) -> None:
    audit(file, Scope(), prices=BOOK)
    assert len(looked_at) == len(set(looked_at)) == DAYS
    looked_at.clear()
    audit(file, Scope(), prices=BOOK)
    assert not looked_at
    audit(file, SCOPES["from noon to noon"], prices=BOOK)
    assert len(looked_at) == 2, "the days at the borders"


def test_today_is_looked_at_each_time(
    file: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_now", lambda: NOON)
    for _ in range(2):
        audit(file, Scope(), prices=BOOK)
    assert looked_at.count(NOON // DAY_US) == 2
    assert len(looked_at) == DAYS + 1


def test_a_small_file_is_left_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_LARGE", 20_000)
    before = file.read_bytes()
    audit(file, Scope(), prices=BOOK)
    assert file.read_bytes() == before


def test_a_file_that_cannot_be_written_is_audited(file: Path) -> None:
    expected = plainly(file, Scope())
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert told(audit(file, Scope(), prices=BOOK)) == expected
    assert not bodies(file)


def test_what_another_version_has_left_is_no_news(file: Path, looked_at: list[int]) -> None:
    expected = told(audit(file, Scope(), prices=BOOK))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("update day_digests set body = ? where day % 2", [zlib.compress(b"\x93\x01")])
        connection.execute("update day_digests set body = 'none' where day % 2 = 0")
        connection.commit()
    looked_at.clear()
    assert told(audit(file, Scope(), prices=BOOK)) == expected
    assert len(looked_at) == DAYS


def test_what_another_version_has_left_goes_when_this_one_leaves_something(file: Path) -> None:
    kinds = {"audit 0.0.1-1 abc", f"audit {__version__}-1 other-prices", "spent 1"}
    with closing(sqlite3.connect(file)) as connection:
        connection.executemany("insert into day_digests (day, kind, body) values (1, ?, 'x')", zip(kinds))
        connection.commit()
        audit(file, Scope(), prices=BOOK)
        left = {kind for (kind,) in connection.execute("select kind from day_digests where day = 1")}
    assert left == kinds - {"audit 0.0.1-1 abc"}


def test_no_text_is_kept_that_retention_would_have_to_find(file: Path) -> None:
    found = audit(file, Scope(), prices=BOOK)
    shown = {title.partition("“")[2].partition("”")[0] for title in (f.title for f in found.findings)} - {""}
    assert shown, "some title quotes a message"
    everything = b"".join(map(zlib.decompress, bodies(file)))
    assert b"support" in everything
    assert not [text for text in shown if text.encode()[:20] in everything]


def bodies(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return [body for (body,) in connection.execute("select body from day_digests where body is not null")]


# ── and again when it has changed ────────────────────────────────────────────────────────────────────────


def _late_run(path: Path) -> None:
    with Tracer(path, prices=BOOK) as tracer, tracer.run("late"):
        for _ in range(6):
            with tracer.llm("gpt-4o", messages=[{"role": "user", "content": "Where is it?"}]) as call:
                call.done("Gone.", usage=Usage(input_uncached_tokens=2_000, output_tokens=9))
            with tracer.tool("lookup", {"id": 1}) as tool:
                tool.done("not there")
    assert _moved(path)


def _moved(path: Path) -> int:
    """The late run, to an old day: nobody can record in the past."""
    with closing(sqlite3.connect(path)) as connection:
        for table, key in (
            ("llm_calls", "run_id"),
            ("tool_calls", "run_id"),
            ("steps", "run_id"),
            ("runs", "id"),
        ):
            sql = f"update {table} set started_at = started_at - :by, ended_at = ended_at - :by"
            where = f"{key} = (select id from runs where name = 'late')"
            moved = connection.execute(f"{sql} where {where}", {"by": 5 * DAY_US}).rowcount
        connection.commit()
    return moved


def _priced_again(path: Path) -> None:
    dear = PriceBook(discounts={"*": 0.5})
    assert repriced_file.apply(path, dear, Question(("gpt-5-mini",)))


def _purged(path: Path) -> None:
    with Reader(path) as reader:
        [(user,)] = reader.execute("select user_id from runs where user_id is not null limit 1")
    assert purge.purge(path, user).found


def _texts_let_go(path: Path) -> None:
    now = datetime.now(UTC) + timedelta(days=15)
    with opened(path) as connection:
        do_all(connection, Keeping(connection, Retention(), now).pieces())


@pytest.mark.parametrize("change", [_late_run, _priced_again, _purged, _texts_let_go])
def test_what_has_changed_is_looked_at_again(file: Path, change: Callable[[Path], None]) -> None:
    before = told(audit(file, Scope(), prices=BOOK))
    change(file)
    after = told(audit(file, Scope(), prices=BOOK))
    assert after == plainly(file, Scope())
    assert after != before


def test_an_audit_by_other_prices_does_not_tell_the_dollars_of_these(file: Path) -> None:
    audit(file, Scope(), prices=BOOK)
    other = PriceBook({"gpt-5-mini": ModelPrice(input=0.1, output=40)})
    assert told(audit(file, Scope(), prices=other)) == plainly(file, Scope(), other)
    assert plainly(file, Scope(), other) != plainly(file, Scope())


BOOKS = [
    PriceBook(),
    PriceBook({"m": ModelPrice(input=1, output=2)}),
    PriceBook({"m": ModelPrice(input=1, output=3)}),
    PriceBook({"m": [ModelPrice(input=1, output=2, since="2026-01-01"), ModelPrice(input=9, output=9)]}),
    PriceBook({"m": ModelPrice(input=1, output=2, above={100: ModelPrice(input=2, output=2)})}),
    PriceBook(aliases={"m": "gpt-4o"}),
    PriceBook(aliases={"m": "gpt-4o-mini"}),
    PriceBook(discounts={"openai": 0.1}),
    PriceBook(discounts={"openai": Discount(off=0.1, since="2026-01-01")}),
    PriceBook(free=["m"]),
    PriceBook(tools={"m": 1}),
]


def test_books_of_other_prices_have_other_fingerprints() -> None:
    assert len({book.fingerprint() for book in BOOKS}) == len(BOOKS)
    assert PriceBook(free=["m"]).fingerprint() == BOOKS[-2].fingerprint()


# ── some at a time ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_MANY", 1)
    monkeypatch.setattr(beside.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.mark.usefixtures("two_processors")
def test_two_processes_say_what_one_says(
    file: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    book = PriceBook(discounts={"*": 0.25})
    expected = plainly(file, Scope(), book)
    looked_at.clear()
    _let_the_other_begin(monkeypatch)
    assert told(audit(file, Scope(), prices=book)) == expected
    assert len(looked_at) < DAYS, "some days were looked at by the other"
    assert len(bodies(file)) == DAYS


def _let_the_other_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take nothing here until the other has looked at a day: it takes a while to start."""
    following = beside._Shared.next

    def patiently(shared: Any) -> Any:
        deadline = time.monotonic() + 20
        while (
            threading.current_thread() is threading.main_thread()
            and not shared.found
            and shared.days
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        return following(shared)

    monkeypatch.setattr(beside._Shared, "next", patiently)


@pytest.mark.usefixtures("two_processors")
@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.stdin.read(1)",
        "print('Hello.')",
        "nonsense(",
        "import os; os.close(0); input()",
        "print('cno_such_module\\nx\\n.')",
    ],
)
def test_a_process_that_ends_leaves_its_day_to_this_one(
    file: Path, tmp_path: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    broken = tmp_path / "python"
    broken.write_text(f"#!{sys.executable}\n{program}\n")
    broken.chmod(0o700)
    expected = plainly(file, Scope())
    looked_at.clear()
    monkeypatch.setattr(beside.sys, "executable", str(broken))
    assert told(audit(file, Scope(), prices=BOOK)) == expected
    assert len(looked_at) == DAYS


@pytest.mark.usefixtures("two_processors")
def test_the_program_that_asks_is_not_run_twice(file: Path, tmp_path: Path) -> None:
    """As it would be if processes were started as `multiprocessing` does."""
    script = tmp_path / "report.py"
    script.write_text(f"""
from pathlib import Path
with Path({str(tmp_path / "ran")!r}).open("a") as ran:
    ran.write("x")
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import audit, beside, trace
trace._LARGE = beside._MANY = 1
beside.os.sched_getaffinity = lambda _: {{0, 1}}
print(audit({str(file)!r}, Scope()).calls)
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == audit(file, Scope(), prices=BOOK).calls
    assert (tmp_path / "ran").read_text() == "x"


# ── what days tell, put together ─────────────────────────────────────────────────────────────────────────

_beginnings = st.lists(
    st.builds(
        Beginning,
        at=st.integers(0, 10 * DAY_US),
        run_id=st.text("ab", max_size=3),
        prompt=st.integers(1, 9_999),
        latency_us=st.integers(0, 9),
    ),
    min_size=1,
    max_size=40,
)


@given(_beginnings)
def test_prompts_grow_over_days_as_they_grow_over_all(begun: list[Beginning]) -> None:
    loop = "agent", "run"
    whole = Beginnings.of(loop, list(begun))
    joined: Beginnings | None = None
    for day in sorted({run.at // DAY_US for run in begun}):
        of_day = Beginnings.of(loop, [run for run in begun if run.at // DAY_US == day])
        if joined is None:
            joined = of_day
        else:
            joined.join(of_day)
    assert joined == whole
    assert joined.rot() == whole.rot()


Told = TypeVar("Told")


@pytest.fixture
def case(month: Path) -> Iterator[Case]:
    with Reader(month) as reader:
        yield Case(Trace(reader, Scope()), Account(CallRates(BOOK)))


@pytest.mark.parametrize(
    ("kind", "days", "whole"),
    [
        pytest.param(
            UnusedTools,
            [Toolboxes({("a", "t"): 2}, {"a": {"x"}}), Toolboxes({("a", "t"): 3}, {"a": {"y"}})],
            Toolboxes({("a", "t"): 5}, {"a": {"x", "y"}}),
            id="tools",
        ),
        pytest.param(
            ExpensiveModel,
            [
                [Kind(("a", None, "m"), 2, 1, "m-1")],
                [Kind(("a", None, "m"), 3, 3, "m-2"), Kind(("b", "s", None))],
            ],
            [Kind(("a", None, "m"), 5, 4, "m-2"), Kind(("b", "s", None))],
            id="models",
        ),
        pytest.param(
            OversizedResult,
            [Sizes({"x": [1, 2]}, [("r", "x", 2)]), Sizes({"x": [3], "y": [4]}, [("s", "y", 4)])],
            Sizes({"x": [1, 2, 3], "y": [4]}, [("r", "x", 2), ("s", "y", 4)]),
            id="results",
        ),
        pytest.param(
            Preamble,
            [
                [Wasted("preamble", ("a",), Title("first"), None, 1, [Waste(("r", "1"), 1, 9, 9)])],
                [Wasted("preamble", ("a",), Title("second"), None, 2, [Waste(("r", "2"), 2, 9, 9)] * 2)],
            ],
            [
                Wasted(
                    "preamble",
                    ("a",),
                    Title("first"),
                    None,
                    3,
                    [Waste(("r", "1"), 1, 9, 9), *[Waste(("r", "2"), 2, 9, 9)] * 2],
                )
            ],
            id="wastes",
        ),
    ],
)
def test_what_was_told_of_two_days_is_told_of_both(
    case: Case, kind: type[Look[Told]], days: list[Told], whole: Told
) -> None:
    look = kind(case)
    for day in days:
        look.hear(day)
    assert look.told() == whole


def test_a_habit_of_one_reply_a_day_is_a_habit(case: Case) -> None:
    look = Preamble(case)
    for day in range(LEAST_REPLIES):
        assert not look.wasted()
        waste = Waste(("r", str(day)), day, 9, 9)
        look.hear([Wasted("preamble", ("a",), Title("filler"), None, 1, [waste])])
    assert look.wasted()[0].times == LEAST_REPLIES


# ── what is not over, or not all in the time ─────────────────────────────────────────────────────────────


def test_a_run_that_calls_after_midnight_is_told_up_to_the_end_of_the_time(
    file: Path, looked_at: list[int]
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        [(run_id, began)] = connection.execute(
            "select r.id, max(r.started_at) from runs r join tool_calls t on t.run_id = r.id"
            " where r.llm_calls > 2 and r.started_at < ?",
            [NOON - 5 * DAY_US],
        )
        midnight = (began // DAY_US + 1) * DAY_US
        for table in ("llm_calls", "tool_calls"):
            moved = f"update {table} set started_at = started_at + :late, ended_at = ended_at + :late where run_id = :run"
            connection.execute(moved, {"late": midnight - began, "run": run_id})
        connection.execute("update runs set ended_at = ended_at + ? where id = ?", [midnight - began, run_id])
        connection.commit()
    until = Scope(until=midnight)
    assert plainly(file, until)[0] != plainly(file, Scope(until=midnight + DAY_US // 24))[0]
    for scope in (until, Scope(), until, Scope(since=midnight), Scope()):
        assert told(audit(file, scope, prices=BOOK)) == plainly(file, scope)


def test_a_day_with_a_run_that_goes_on_is_not_kept(
    db: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_now", lambda: NOON + 3 * DAY_US)
    with Tracer(db, prices=BOOK) as tracer, tracer.run("agent"):
        with tracer.llm("gpt-4o", messages="Where is it?") as call:
            call.done("Gone.", usage=Usage(input_uncached_tokens=2_000, output_tokens=9))
        assert tracer.flush(10)
        for _ in range(2):
            assert audit(db, Scope(), prices=BOOK).calls == 1
    assert len(looked_at) == 2
    assert not bodies(db)


@pytest.mark.parametrize("program", [sys.executable, "nobody"])
@pytest.mark.usefixtures("two_processors")
def test_sums_that_no_digest_can_hold_are_told_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("update llm_calls set cost_nano_usd = 9000000000000000000")
        connection.commit()
    expected = plainly(file, Scope())
    monkeypatch.setattr(beside.sys, "executable", program)
    for _ in range(2):
        assert told(audit(file, Scope(), prices=BOOK)) == expected
    assert len(bodies(file)) < DAYS // 2, "days of a call or two"


@pytest.mark.usefixtures("two_processors")
def test_another_process_reads_an_encrypted_file_as_this_one_does(
    db: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key comes from the program, and stands in no variable that the other could read."""
    clock = weeks.freeze(monkeypatch)
    with Tracer(db, key="correct horse", prices=BOOK) as tracer:
        for day in range(3):
            clock.set(weeks.START_US + day * DAY_US)
            with tracer.run("agent"), tracer.llm("gpt-4o", messages="Where is it?") as call:
                call.done("Gone.", usage=Usage(input_uncached_tokens=2_000, output_tokens=9))
    expected = plainly(db, Scope())
    looked_at.clear()
    _let_the_other_begin(monkeypatch)
    assert told(audit(db, Scope(), prices=BOOK)) == expected
    use_key(db, None)
    assert expected[0][0] == 3
    assert len(looked_at) < 3
