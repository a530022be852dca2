"""A digest that says anything else than its runs is a wrong bill: answers are the same with digests and without, whatever happens."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.analysis import dated, weeks
from tests.analysis.conftest import Raw
from tests.analysis.dated import DAYS, FIRST_DAY, RUNS, SCOPES, TODAY, TOLD, UNTOLD, asked, plainly
from tests.analysis.weeks import DAY_US, Clock
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.analysis import Scope, days, synopses
from tokentrace_core.analysis.measured_days import MeasuredDays
from tokentrace_core.analysis.spent_days import SpentDays
from tokentrace_core.store import digests, lease, purge, repriced_file
from tokentrace_core.store.backup import back_up
from tokentrace_core.store.connection import KEY_VARIABLE, connect
from tokentrace_core.store.digest_table import day_of
from tokentrace_core.store.pieces import do_all
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.rekey import rekey
from tokentrace_core.store.repricing import Question as Repricing
from tokentrace_core.store.retention import Keeping, Retention
from tokentrace_core.store.upkeep import opened
from tokentrace_core.usage import Usage

Change = Callable[[Path, Clock], object]
KINDS = {
    "cost": SpentDays(by_hour=False).kind,
    "cost by tag, hour": SpentDays(by_hour=True).kind,
    "metrics": MeasuredDays.kind,
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return weeks.freeze(monkeypatch)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of some runs is large, and a digest worth its room; today is the day after the last of them."""
    for name, value in {"_LARGE": 2, "_MANY": 2, "_LEAST_ALIKE": 0}.items():
        monkeypatch.setattr(days, name, value)
    monkeypatch.setattr(days, "_today", lambda: TODAY)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("days") / "traces.db"
    with pytest.MonkeyPatch.context() as patched, dated.recording(path) as tracer:
        clock = weeks.freeze(patched)
        for day in range(DAYS):
            dated.record(tracer, clock, day, seed=1)
    return path


@pytest.fixture
def file(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recorded, tmp_path / "traces.db"))


def kept(path: Path, kind: str = KINDS["cost"]) -> dict[int, bytes | None]:
    """Digests by day, from 0."""
    with closing(sqlite3.connect(path)) as connection:
        assert not connection.execute("select * from day_digests where claim is not null").fetchall()
        rows = connection.execute("select day, body from day_digests where kind = ?", [kind])
        return {day - FIRST_DAY: body for day, body in rows}


@pytest.fixture
def digested(file: Path) -> Path:
    """With the digest of each day."""
    for name in KINDS:
        asked(file, TOLD[name], Scope())
    for kind in KINDS.values():
        assert all(kept(file, kind)[day] for day in range(DAYS))
    return file


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many runs are read, page by page."""
    read: list[int] = []
    pages = synopses.pages

    def counted(*args: Any) -> Iterator[Any]:
        for page in pages(*args):
            read.append(sum(page.sizes))
            yield page

    monkeypatch.setattr(synopses, "pages", counted)
    return read


# ── the same answers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("question", [*TOLD, *UNTOLD])
def test_an_answer_is_the_same_when_digests_are_made_and_when_they_are_there(
    file: Path, question: str, scope: str
) -> None:
    ask, of = (TOLD | UNTOLD)[question], SCOPES[scope]
    expected = plainly(file, ask, of)
    assert asked(file, ask, of) == expected
    assert asked(file, ask, of) == expected


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("question", TOLD)
def test_so_is_one_from_digests_that_another_question_made(digested: Path, question: str, scope: str) -> None:
    assert asked(digested, TOLD[question], SCOPES[scope]) == plainly(digested, TOLD[question], SCOPES[scope])


@pytest.mark.parametrize("name", KINDS)
def test_digests_spare_the_reading_of_their_runs(digested: Path, read: list[int], name: str) -> None:
    asked(digested, TOLD[name], Scope())
    assert sum(read) == 0
    asked(digested, TOLD[name], SCOPES["from noon to noon"])
    assert 0 < sum(read) <= 3 * RUNS, "those of the days at the borders"


@pytest.mark.parametrize("question", UNTOLD)
def test_what_no_digest_tells_is_read_as_ever(digested: Path, read: list[int], question: str) -> None:
    assert asked(digested, UNTOLD[question], Scope())
    assert sum(read) in (0, DAYS * RUNS), "by attribute, the rows themselves are read"


def test_runs_that_spent_after_midnight_are_in_the_time_in_which_they_spent(digested: Path) -> None:
    raw = Raw(digested)
    spent: dict[int, list[int]] = defaultdict(list)
    for row in [*raw.calls, *(tool for tool in raw.tools if tool["cost_nano_usd"] is not None)]:
        spent[raw.run_of[row["run_id"]]["started_at"] // DAY_US].append(row["started_at"])
    assert any(max(moments) >= (day + 1) * DAY_US for day, moments in spent.items()), "some run has done so"
    with closing(sqlite3.connect(digested)) as connection:
        rows = connection.execute("select day, first, last from day_digests where kind = ?", [KINDS["cost"]])
        assert {day: (first, last) for day, first, last in rows} == {
            day: (min(moments), max(moments)) for day, moments in spent.items()
        }
    for day in range(DAYS):
        scope = Scope(since=(FIRST_DAY + day) * DAY_US, until=(FIRST_DAY + day + 1) * DAY_US)
        assert asked(digested, TOLD["cost"], scope) == plainly(digested, TOLD["cost"], scope)


@given(moment=st.integers(-(10**17), 10**17))
@example(moment=-1)
@example(moment=-DAY_US)
@example(moment=0)
def test_a_day_begins_at_midnight_also_before_the_epoch(moment: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        [(day,)] = connection.execute(
            f"select {day_of('started_at')} from (select ? as started_at)", [moment]
        )
    assert day * DAY_US <= moment < (day + 1) * DAY_US


# ── a digest goes when its day changes ───────────────────────────────────────────────────────────────────


def _late_run(path: Path, clock: Clock) -> None:
    with dated.recording(path) as tracer:
        dated.record(tracer, clock, day=1, seed=50, runs=1)


def _priced_again(path: Path, _: Clock) -> None:
    book = PriceBook({"foo-9": ModelPrice(input=3, output=5)})
    assert repriced_file.apply(path, book, Repricing(("foo-9",)))


def _purged(path: Path, _: Clock) -> None:
    assert not purge.purge(path, "ada").closed


def _let_go(path: Path, days_after: float) -> None:
    now = datetime.fromtimestamp(FIRST_DAY * 86_400, UTC) + timedelta(days=days_after)
    with opened(path) as connection:
        do_all(connection, Keeping(connection, Retention(), now).pieces())


def _went_on(path: Path, clock: Clock) -> None:
    """A run that waited for a human goes on some days later."""
    with dated.recording(path) as tracer:
        clock.set((FIRST_DAY + 1) * DAY_US)
        tracer.recorder.open_run("a", "waits", session="s")
        tracer.recorder.wait("a")
        assert tracer.flush(10)
        for name in KINDS:
            assert asked(path, TOLD[name], Scope()) == plainly(path, TOLD[name], Scope())
        clock.set((FIRST_DAY + 3) * DAY_US)
        tracer.recorder.open_run("b", "waits", session="s", resume=True)
        tracer.recorder.open_llm("d", parent="b", model="large", messages="x")
        tracer.recorder.close_llm("d", usage=Usage(input_uncached_tokens=99, output_tokens=7))
        tracer.recorder.close_run("b")


def _by_hand(sql: str) -> Change:
    def change(path: Path, _: Clock) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(sql, {"day": (FIRST_DAY + 1) * DAY_US, "next": (FIRST_DAY + 2) * DAY_US})
            connection.commit()

    return change


_OF_DAY = "started_at >= :day and started_at < :next"
#: And the days whose digests go.
CHANGES: dict[str, tuple[Change, set[int]]] = {
    "a late run": (_late_run, {1}),
    "another price": (_priced_again, set(range(DAYS))),
    "a purge": (_purged, set(range(DAYS))),
    "texts let go": (lambda path, _: _let_go(path, 3.5), {0, 1}),
    "traces let go": (lambda path, _: _let_go(path, 32), set(range(DAYS))),
    "summaries let go": (lambda path, _: _let_go(path, 92), set(range(DAYS))),
    "a run that goes on": (_went_on, {1}),
    "a score": (_by_hand("insert into scores (id, run_id, name, value) select hex(randomblob(8)), id, 'good', 1 from runs"), set()),
    "a run deleted": (_by_hand(f"delete from runs where id = (select min(id) from runs where {_OF_DAY})"), {1}),
    "all of a day deleted": (_by_hand(f"delete from runs where {_OF_DAY}"), {1}),
    "another name": (_by_hand(f"update runs set name = 'another' where {_OF_DAY}"), {1}),
    "another tag": (_by_hand(f"update runs set tags = '[\"new\"]' where {_OF_DAY}"), {1}),
    "another end": (_by_hand(f"update runs set status = 'failure', ended_at = ended_at + 7 where {_OF_DAY}"), {1}),
    "another wait": (_by_hand(f"update runs set waiting_ms = 7 where {_OF_DAY}"), {1}),
    "another day": (_by_hand("update runs set started_at = :next where id = (select min(id) from runs)"), {0, 2}),
    "a day before the epoch": (_by_hand("update runs set started_at = -1 where id = (select min(id) from runs)"), {0}),
    "no synopses": (_by_hand(f"update runs set synopsis = null where {_OF_DAY}"), {1}),
    "traces gone without a word": (_by_hand(f"update runs set synopsis = null, expired = 'trace' where {_OF_DAY}"), {1}),
    "other users": (_by_hand("update runs set user_id = 'x'"), set()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_takes_the_digests_of_its_days_and_no_others(
    digested: Path, clock: Clock, change: str
) -> None:
    act, gone = CHANGES[change]
    act(digested, clock)
    for kind in KINDS.values():
        assert set(kept(digested, kind)) & set(range(DAYS)) == set(range(DAYS)) - gone


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_answers_are_those_of_the_runs_as_they_are(
    digested: Path, clock: Clock, change: str
) -> None:
    CHANGES[change][0](digested, clock)
    for question in TOLD.values():
        expected = plainly(digested, question, Scope())
        assert asked(digested, question, Scope()) == expected
        assert asked(digested, question, Scope()) == expected


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from(sorted(CHANGES)),
            st.tuples(st.sampled_from(sorted(TOLD)), st.sampled_from(sorted(SCOPES))),
        ),
        min_size=3,
        max_size=7,
    ),
    today=st.integers(FIRST_DAY, TODAY),
)
def test_no_order_of_questions_and_changes_makes_an_answer_wrong(
    recorded: Path,
    tmp_path_factory: pytest.TempPathFactory,
    clock: Clock,
    steps: list[Any],
    today: int,
) -> None:
    path = Path(shutil.copy(recorded, tmp_path_factory.mktemp("order") / "traces.db"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(days, "_today", lambda: today)
        for step in steps:
            if isinstance(step, str):
                CHANGES[step][0](path, clock)
            else:
                question, scope = TOLD[step[0]], SCOPES[step[1]]
                assert asked(path, question, scope) == plainly(path, question, scope)
    assert set(kept(path)) <= set(range(today - FIRST_DAY)), "the day that is not over has none"


# ── when there is none ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KINDS)
def test_a_small_file_and_days_of_few_runs_are_left_as_they_are(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = file.read_bytes()
    monkeypatch.setattr(days, "_MANY", RUNS + 1)
    asked(file, TOLD[name], Scope())
    monkeypatch.setattr(days, "_LARGE", DAYS * RUNS + 1)
    monkeypatch.setattr(days, "_MANY", 1)
    asked(file, TOLD[name], Scope())
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", KINDS)
def test_the_present_day_and_those_to_come_have_none(
    file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(days, "_today", lambda: FIRST_DAY + 2)
    asked(file, TOLD[name], Scope())
    assert set(kept(file, KINDS[name])) == {0, 1}


@pytest.mark.parametrize("name", KINDS)
def test_a_day_on_which_a_run_is_not_over_has_none_until_it_is(file: Path, clock: Clock, name: str) -> None:
    with dated.recording(file) as tracer:
        clock.set((FIRST_DAY + 1) * DAY_US)
        with tracer.run("long") as run:
            with run.llm("large", messages="x") as call:
                call.done(None, usage=Usage(input_uncached_tokens=5, output_tokens=5))
            assert tracer.flush(10)
            assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())
            assert [day for day, body in kept(file, KINDS[name]).items() if body is None] == [1]
        assert tracer.flush(10)
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())
    assert None not in kept(file, KINDS[name]).values()


@pytest.fixture
def with_a_killed_run(file: Path, clock: Clock) -> Iterator[tuple[Path, Tracer]]:
    """The file, and a process that works on a run of the second day, and was taken for dead by the next that wrote."""
    with dated.recording(file) as tracer:
        clock.set((FIRST_DAY + 1) * DAY_US)
        with tracer.run("long") as run:
            with run.llm("large", messages="x") as call:
                call.done(None, usage=Usage(input_uncached_tokens=5, output_tokens=5))
            assert tracer.flush(10)
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("update writers set beat_at = 0")
                connection.commit()
            with opened(file):
                pass
            yield file, tracer


@pytest.mark.parametrize("name", KINDS)
def test_a_run_whose_process_died_is_in_them_once_a_writer_has_written_that_down(
    with_a_killed_run: tuple[Path, Tracer], name: str
) -> None:
    file, _ = with_a_killed_run
    with Reader(file) as reader:
        assert [run["name"] for run in reader.runs(99) if run["status"] == "interrupted"] == ["long"]
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())
    assert kept(file, KINDS[name])[1]


@pytest.mark.parametrize("name", KINDS)
def test_and_out_of_them_when_it_goes_on_after_all(
    with_a_killed_run: tuple[Path, Tracer], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file, tracer = with_a_killed_run
    asked(file, TOLD[name], Scope())
    with monkeypatch.context() as impatient:
        impatient.setattr(lease, "BEAT_S", 0.0)
        impatient.setattr(lease, "DEAD_AFTER_S", 0)
        with tracer.run("another"):
            pass
        assert tracer.flush(10)
    assert 1 not in kept(file, KINDS[name])
    with closing(sqlite3.connect(file)) as connection:
        [row] = connection.execute("select status, synopsis from runs where name = 'long'")
    assert row == ("running", None)
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "state",
    [
        "synopsis = null",
        "synopsis = '{}'",
        "synopsis = '[[],[],null,null,[[0,0,0]]]'",
        "status = 'running'",
        "synopsis = null, status = 'running'",
    ],
)
def test_a_day_with_a_run_that_may_say_something_else_tomorrow_has_none(
    file: Path, read: list[int], name: str, state: str
) -> None:
    """Its rows are all that tells of it, or the clock: and nobody says when these change."""
    with closing(sqlite3.connect(file)) as connection:
        runs = f"select id from runs where started_at / {DAY_US} = {FIRST_DAY + 1} limit 1"
        connection.execute(f"update runs set {state} where id in ({runs})")
        connection.commit()
    for _ in range(2):
        assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())
    assert kept(file, KINDS[name])[1] is None
    read.clear()
    asked(file, TOLD[name], Scope())
    assert sum(read) == RUNS, "of that day only, and once: no other digest is tried"


@pytest.mark.parametrize("name", KINDS)
def test_a_day_of_runs_that_are_all_different_is_not_tried_at_each_question(
    file: Path, monkeypatch: pytest.MonkeyPatch, read: list[int], name: str
) -> None:
    monkeypatch.setattr(days, "_LEAST_ALIKE", 1_000)
    asked(file, TOLD[name], Scope())
    assert set(kept(file, KINDS[name]).values()) == {None}
    read.clear()
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())
    assert sum(read) == 2 * DAYS * RUNS


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "body", [b"", b"[", b"[[1]]", b"{}", b"\xff", b"[[[],1,[[],[],null,null,[[0]]]]]"], ids=repr
)
def test_what_is_no_digest_is_not_believed(digested: Path, name: str, body: bytes) -> None:
    with closing(sqlite3.connect(digested)) as connection:
        connection.execute("update day_digests set body = ?", [body])
        connection.commit()
    assert asked(digested, TOLD[name], Scope()) == plainly(digested, TOLD[name], Scope())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "oddity",
    [
        "name = x'ff'",
        "name = cast(x'ff' as text)",
        "waiting_ms = 0.25",
        "ended_at = 9223372036854775807, waiting_ms = -9223372036854775807",
    ],
)
def test_what_cannot_be_kept_does_not_keep_a_question_from_its_answer(
    file: Path, name: str, oddity: str
) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"update runs set {oddity} where started_at / {DAY_US} = {FIRST_DAY + 1}")
        connection.commit()
    for _ in range(2):
        assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())


# ── a file that takes none ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KINDS)
def test_where_nothing_can_be_written_the_answer_is_given(file: Path, name: str) -> None:
    expected, before = plainly(file, TOLD[name], Scope()), file.read_bytes()
    for end in ("-wal", "-shm"):  # as on a read-only mount, but also for root
        file.with_name(file.name + end).unlink(missing_ok=True)
        file.with_name(file.name + end).symlink_to("/nowhere/at/all")
    assert asked(file, TOLD[name], Scope()) == expected
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", KINDS)
def test_who_writes_is_not_waited_for(file: Path, name: str) -> None:
    expected = plainly(file, TOLD[name], Scope())
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("begin immediate")
        assert asked(file, TOLD[name], Scope()) == expected
    assert kept(file, KINDS[name]) == {}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_an_earlier_version_is_answered_and_stays_one(file: Path, name: str) -> None:
    expected = plainly(file, TOLD[name], Scope())
    with closing(sqlite3.connect(file)) as connection:
        for (trigger,) in connection.execute(
            "select name from sqlite_master where type = 'trigger' and tbl_name = 'runs'"
        ).fetchall():
            connection.execute(f"drop trigger {trigger}")
        connection.execute("drop table day_digests")
        connection.execute("delete from _sqlite_migrations where name like 'm011%'")
        connection.commit()
    assert asked(file, TOLD[name], Scope()) == expected
    with Reader(file) as reader:
        assert not reader.has_table("day_digests")
    with dated.recording(file):
        pass
    assert asked(file, TOLD[name], Scope()) == expected
    assert len(kept(file, KINDS[name])) == DAYS, "and is one of this version when a writer has opened it"


# ── others at the same time ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("moment", ["claim", "running", "keep"])
def test_a_run_that_is_written_while_a_digest_is_made_is_not_left_out_of_it(
    file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    """`claim`: just before the day is claimed; `running`: before its runs are read; `keep`: before the digest is kept."""
    owner = digests.Digests if moment == "claim" else digests.Claim
    act = getattr(owner, moment)

    def late(*args: Any) -> Any:
        _late_run(file, clock)
        monkeypatch.setattr(owner, moment, act)
        return act(*args)

    monkeypatch.setattr(owner, moment, late)
    asked(file, TOLD[name], Scope())
    assert set(range(DAYS)) - set(kept(file, KINDS[name])) == (set() if moment == "claim" else {1})
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())


@pytest.mark.parametrize("name", KINDS)
def test_who_is_late_does_not_put_an_old_digest_in_the_place_of_a_new_one(
    file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    keep = digests.Claim.keep

    def overtaken(*args: Any) -> None:
        monkeypatch.setattr(digests.Claim, "keep", keep)
        _late_run(file, clock)
        asked(file, TOLD[name], Scope())
        keep(*args)

    monkeypatch.setattr(digests.Claim, "keep", overtaken)
    asked(file, TOLD[name], Scope())
    assert all(kept(file, KINDS[name])[day] for day in range(DAYS))
    assert asked(file, TOLD[name], Scope()) == plainly(file, TOLD[name], Scope())


def test_who_was_killed_while_making_one_leaves_nothing_that_stays(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests.Claim, "keep", lambda *_: None)
    asked(file, TOLD["cost"], Scope())
    monkeypatch.undo()
    monkeypatch.setattr(days, "_LARGE", 2)
    monkeypatch.setattr(days, "_MANY", 2)
    monkeypatch.setattr(days, "_LEAST_ALIKE", 0)
    monkeypatch.setattr(days, "_today", lambda: TODAY)
    asked(file, TOLD["cost"], Scope())
    assert all(kept(file)[day] for day in range(DAYS))


_ASK = """
import sys
from pathlib import Path
from tests.analysis import dated
from tokentrace_core.analysis import Scope, days
days._LARGE = days._MANY = 2
days._LEAST_ALIKE = 0
days._today = lambda: dated.TODAY
for _ in range(12):
    dated.asked(Path(sys.argv[1]), dated.TOLD["cost"], Scope())
"""


def test_questions_of_two_processes_and_a_writer_do_not_hurt_each_other(file: Path, clock: Clock) -> None:
    asking = [subprocess.Popen([sys.executable, "-c", _ASK, str(file)]) for _ in range(2)]
    with dated.recording(file) as tracer:
        number = 0
        while any(process.poll() is None for process in asking):
            dated.record(tracer, clock, day=number % DAYS, seed=1_000 + number, runs=1)
            assert tracer.flush(10)
            number += 1
        assert tracer.losses == {}
    assert [process.returncode for process in asking] == [0, 0]
    assert number
    for question in TOLD.values():
        assert asked(file, question, Scope()) == plainly(file, question, Scope())


# ── what is in it ────────────────────────────────────────────────────────────────────────────────────────


def test_a_digest_holds_nothing_of_a_user_a_session_or_a_single_run(digested: Path) -> None:
    with Reader(digested) as reader:
        rows = reader.query("select id, session_id, user_id, attributes, input from main.runs")
        private = {value for row in rows for value in row.values() if value and value != "{}"}
    for kind in KINDS.values():
        for body in kept(digested, kind).values():
            assert body
            assert not [value for value in private if value.encode() in body]


def test_a_purge_leaves_no_byte_of_the_digests_of_their_days(file: Path, clock: Clock) -> None:
    with dated.recording(file) as tracer:
        clock.set((FIRST_DAY + 1) * DAY_US)
        with tracer.run("a run for ada lovelace", user="ada lovelace"):
            pass
    for name in KINDS:
        asked(file, TOLD[name], Scope())
    result = purge.purge(file, "ada lovelace")
    assert result.found
    assert not result.left
    assert b"ada lovelace" not in file.read_bytes()
    for kind in KINDS.values():
        assert set(kept(file, kind)) == set(range(DAYS)) - {1}


def test_a_backup_takes_the_digests_along_and_they_hold_there(
    digested: Path, tmp_path: Path, clock: Clock
) -> None:
    back_up(digested, tmp_path / "copy.db")
    assert kept(tmp_path / "copy.db") == kept(digested)
    _late_run(tmp_path / "copy.db", clock)
    assert set(kept(tmp_path / "copy.db")) == set(range(DAYS)) - {1}
    for question in TOLD.values():
        assert asked(tmp_path / "copy.db", question, Scope()) == plainly(
            tmp_path / "copy.db", question, Scope()
        )


def test_an_encrypted_file_keeps_its_digests_encrypted_too(
    digested: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert b"helper" in digested.read_bytes()
    rekey(digested, "a passphrase")
    monkeypatch.setenv(KEY_VARIABLE, "a passphrase")
    for _ in range(2):  # as they came along, and as they are made here
        for name in KINDS:
            assert asked(digested, TOLD[name], Scope()) == plainly(digested, TOLD[name], Scope())
        with closing(connect(digested)) as connection:
            sql = "select count(*) from day_digests where body is not null"
            assert connection.execute(sql).fetchone() == (DAYS * len(KINDS),)
        assert b"helper" not in digested.read_bytes()
        _late_run(digested, clock)
