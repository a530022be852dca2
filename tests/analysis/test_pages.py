"""A large file is read in pages, beside; whatever is in it, and wherever a page ends, no run is lost and none counted twice."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.analysis.conftest import Raw
from tests.analysis.test_spending import reckoned, told
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.metrics import metrics
from tokentrace_core.analysis.synopses import runs_begun
from tokentrace_core.errors import StoreError
from tokentrace_core.store import pages
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import Costs


@pytest.fixture(params=[(1, 2, 1), (3, 5, 2), (7, 100, 3)], ids=["by one", "short", "in one line or two"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty runs are many."""
    first, most, line = request.param
    for name, value in {"_LARGE": 2, "_FIRST": first, "_MOST": most, "_LINE": line}.items():
        monkeypatch.setattr(pages, name, value)


@pytest.fixture
def changed(traffic_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the file of traffic, with other rows."""

    def change(sql: str, *parameters: object) -> Path:
        path = tmp_path / "changed.db"
        with closing(sqlite3.connect(traffic_file)) as source, closing(sqlite3.connect(path)) as copy:
            source.backup(copy)
            copy.execute(sql, parameters)
            copy.commit()
        return path

    return change


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("by", [["model"], ["user", "day"], ["tag"], ["tool"], []], ids=str)
def test_pages_add_up_to_what_the_rows_say(reader: Reader, raw: Raw, by: list[str]) -> None:
    assert told(reader, by) == reckoned(raw, by)


@pytest.mark.usefixtures("large")
def test_so_do_pages_of_a_time_and_no_run_is_in_two(reader: Reader, raw: Raw) -> None:
    begun = sorted(run["started_at"] for run in raw.runs)
    for moment in begun[:: len(begun) // 5]:
        parts = [Scope(until=moment), Scope(since=moment)]
        runs = [
            run_id
            for scope in parts
            for some in runs_begun(reader, scope, ["r.id"], Costs)
            for (run_id,) in some.facts
        ]
        assert sorted(runs) == sorted(run["id"] for run in raw.runs)
        assert told(reader, ["user"], parts[0]) == reckoned(
            raw, ["user"], lambda row, moment=moment: row["started_at"] < moment
        )


def test_metrics_do_not_depend_on_where_pages_end(
    reader: Reader, request: pytest.FixtureRequest, raw: Raw
) -> None:
    scopes = [Scope(), Scope(since=raw.runs[5]["started_at"], until=raw.runs[30]["started_at"])]
    questions = [(by, scope) for by in ([], ["user"], ["agent"], ["tag"]) for scope in scopes]
    at_once = [metrics(reader, by, scope) for by, scope in questions]
    monkeypatch = request.getfixturevalue("monkeypatch")
    for name, value in {"_LARGE": 2, "_FIRST": 2, "_MOST": 3, "_LINE": 2}.items():
        monkeypatch.setattr(pages, name, value)
    assert [metrics(reader, by, scope) for by, scope in questions] == at_once


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "broken",
    [
        None,
        "",
        "{}",
        "null",
        "[",
        "\n",
        "[[],[],null,null,[]],[[],[],null,null,[]]",
        "[[],[],null,null,[[0,0,0]]]",
        "\x00",
        b"\xff",
        b'[[["\xff",null]],[],null,null,[]]',
    ],
    ids=repr,
)
@pytest.mark.parametrize("which", ["rowid = 1", "rowid % 3 = 0", "rowid >= 38"])
def test_one_that_is_no_synopsis_does_not_spoil_the_others(
    changed: Callable[..., Path], raw: Raw, which: str, broken: str | bytes | None
) -> None:
    with Reader(changed(f"update runs set synopsis = ? where {which}", broken)) as reader:
        assert told(reader, ["model", "user"]) == reckoned(raw, ["model", "user"])


@pytest.mark.usefixtures("large")
def test_gaps_between_the_runs_hide_none(changed: Callable[..., Path]) -> None:
    path = changed("update runs set rowid = rowid * rowid * rowid - 30000")
    with Reader(path) as reader:
        assert told(reader, ["user"]) == reckoned(Raw(path), ["user"])


@pytest.mark.usefixtures("large")
def test_runs_of_one_moment_are_all_there(changed: Callable[..., Path], raw: Raw) -> None:
    moment = raw.runs[20]["started_at"]
    path = changed("update runs set started_at = ? where rowid between 4 and 36", moment)
    with Reader(path) as reader:
        of_moment = metrics(reader, [], Scope(since=moment, until=moment + 1))[0]
        assert of_moment.runs == sum(run["started_at"] == moment for run in Raw(path).runs) >= 33
        assert metrics(reader, [], Scope(since=1))[0] == metrics(reader)[0]


def test_a_page_that_no_text_can_hold_is_read_in_parts(reader: Reader, raw: Raw) -> None:
    longest = max(len(run["synopsis"] or "") for run in raw.runs)
    reader._database.conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 8 * longest)
    assert sum(len(run["synopsis"]) for run in raw.runs) > 8 * longest
    assert told(reader, ["model"]) == reckoned(raw, ["model"])


@pytest.mark.usefixtures("large")
def test_who_stops_in_the_middle_leaves_nothing_behind(reader: Reader) -> None:
    def running() -> list[str]:
        return [thread.name for thread in threading.enumerate() if "tokentrace-pages" in thread.name]

    runs: Iterator[object] = runs_begun(reader, Scope(), [], Costs)
    next(runs)
    assert running()
    runs.close()  # type: ignore[attr-defined]
    assert not running()
    assert gc.isenabled()


@pytest.mark.usefixtures("large")
def test_a_name_that_is_no_text_is_an_error_that_says_so(changed: Callable[..., Path]) -> None:
    path = changed("update runs set user_id = cast(x'ff' as text) where rowid = 30")
    with Reader(path) as reader, pytest.raises(StoreError, match="cannot be read"):
        told(reader, ["user"])
