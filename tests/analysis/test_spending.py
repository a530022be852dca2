"""A wrong sum is a wrong bill: every figure of `cost` is reckoned a second time, in plain Python over the rows."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.analysis import traffic
from tests.analysis.conftest import Raw, Row, attributes, input_tokens
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.adding import NAMED
from tokentrace_core.analysis.dimensions import GROUPS, NAMES, TAG, TIMES
from tokentrace_core.analysis.spending import spending
from tokentrace_core.analysis.spending_rows import Summing
from tokentrace_core.analysis.spent import FIGURES, Spent
from tokentrace_core.store import repriced_file
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.repricing import Question
from tokentrace_core.store.summary import encoded, of_run

ALL = [
    *(name for name in GROUPS if name != NAMES[-1]),
    "attr.tier",
    "attr.region",
    "attr.trial",
    "attr.step_name",
]
Sums = dict[str, int]


# ── the second way ───────────────────────────────────────────────────────────────────────────────────────


def labels(raw: Raw, name: str, row: Row, tool: str | None) -> list[str]:
    """The values of a dimension that a call, or a tool with a cost of its own, has."""
    run, step = raw.run_of[row["run_id"]], raw.step_of.get((row["run_id"], row["step_id"]))
    is_tool = "arguments_hash" in row
    at = datetime.fromtimestamp(row["started_at"] / 1_000_000, UTC)
    if name == TAG:
        return json.loads(run["tags"] or "[]") or ["(none)"]
    if name.startswith("attr."):
        key = name.removeprefix("attr.")
        found = next((attributes(each)[key] for each in (row, step, run) if key in attributes(each)), None)
        if found is None and key == "step_name" and step:
            found = step["name"]
        return ["(none)" if found is None else json.dumps(found).strip('"')]
    named: dict[str, Any] = {
        "user": run["user_id"], "session": run["session_id"], "project": run["project"], "run": run["id"],
        "run-name": run["name"], "run-status": run["status"], "task-type": run["task_type"],
        "error-type": run["error_type"], "version": run["agent_version"], "environment": run["environment"], "framework": run["framework"],
        "agent": step and step["agent"], "step-name": step and step["name"], "step": step and step["number"],
        "status": row["status"], "tool": tool,
        "model": "(tool)" if is_tool else row["model"] or row["model_answered"] or "(unknown)",
        "provider": "(tool)" if is_tool else row["provider"] or "(unknown)",
        "hour": f"{at:%Y-%m-%d %H:00}", "day": f"{at:%Y-%m-%d}", "week": f"{at - timedelta(at.weekday()):%Y-%m-%d}",
    }  # fmt: skip
    return ["(none)" if named[name] is None else named[name]]


def parts(raw: Raw, call: Row, by_tool: bool) -> list[tuple[str | None, Row]]:
    """A call, or its equal shares for the tools of its step."""
    whole = {
        "input_tokens": input_tokens(call), "cached_tokens": call["cache_read_tokens"] or 0,
        "output_tokens": call["output_tokens"] or 0, "nano": call["cost_nano_usd"] or 0,
    }  # fmt: skip
    tools = raw.tools_of[call["run_id"], call["step_id"]] if by_tool else []
    if not tools:
        return [("(no tool)", whole)]
    split = {name: [figure // len(tools)] * len(tools) for name, figure in whole.items()}
    for name, figure in whole.items():
        for place in range(figure % len(tools)):
            split[name][place] += 1
    return [(tool["name"], {name: split[name][place] for name in whole}) for place, tool in enumerate(tools)]


def reckoned(
    raw: Raw, by: list[str], takes: Callable[[Row], bool] = lambda _: True, where: Row | None = None
) -> dict[tuple[str, ...], Sums]:
    found: dict[tuple[str, ...], dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    seen: dict[tuple[str, ...], set[Any]] = defaultdict(set)
    for row in [*raw.calls, *(tool for tool in raw.tools if tool["cost_nano_usd"] is not None)]:
        is_call = "arguments_hash" not in row
        by_tool = "tool" in by or "tool" in (where or {})
        for tool, figures in (
            parts(raw, row, by_tool) if is_call else [(row["name"], {"nano": row["cost_nano_usd"]})]
        ):
            if not takes(row):
                continue
            if any(
                not set(labels(raw, name, row, tool)) & set(values) for name, values in (where or {}).items()
            ):
                continue
            keys: list[tuple[str, ...]] = [()]
            for name in by:
                keys = [(*key, label) for key in keys for label in labels(raw, name, row, tool)]
            for key in keys:
                sums = found[key]
                sums["runs"] += add(seen[key], row["run_id"])
                sums["cost_nano_usd"] += figures["nano"]
                if not is_call:
                    continue
                new = add(seen[key], (row["run_id"], row["id"]))
                sums["calls"] += new
                for name in ("input_tokens", "cached_tokens", "output_tokens"):
                    sums[name] += figures[name]
                if row["usage_source"] == "estimated":
                    sums["estimated_calls"] += new
                    sums["estimated_nano_usd"] += figures["nano"]
                if row["cost_status"] == "unpriced":
                    sums["unpriced_calls"] += new
                    sums["unpriced_tokens"] += figures["input_tokens"] + figures["output_tokens"]
    return {key: {name: sums[name] for name in FIGURES} for key, sums in found.items()}


def add(seen: set[Any], item: Any) -> bool:
    new = item not in seen
    seen.add(item)
    return new


def sums_of(spent: Spent) -> Sums:
    return {name: getattr(spent, name) for name in FIGURES}


def told(reader: Reader, by: list[str], scope: Scope | None = None) -> dict[tuple[str, ...], Sums]:
    return {row.key: sums_of(row) for row in spending(reader, by, scope).rows}


# ── the same, whichever way ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ALL)
def test_every_group_adds_up_to_what_its_rows_say(reader: Reader, raw: Raw, name: str) -> None:
    assert told(reader, [name]) == reckoned(raw, [name])


@pytest.mark.parametrize(
    "by",
    [["model", "user"], ["tool", "agent", "day"], ["tag", "tool"], ["user", "step", "status"], []],
    ids=str,
)
def test_so_does_every_combination(reader: Reader, raw: Raw, by: list[str]) -> None:
    assert told(reader, by) == reckoned(raw, by)


@pytest.mark.parametrize("name", ALL)
def test_no_grouping_changes_the_total(reader: Reader, raw: Raw, name: str) -> None:
    assert sums_of(spending(reader, [name]).total) == reckoned(raw, [])[()]


@pytest.mark.parametrize(
    "where",
    [
        {"user": ("ada", "(none)")}, {"model": ("foo-9",)}, {"provider": ("(tool)",)}, {"tool": ("mail",)},
        {"tool": ("mail", "(no tool)")}, {"tag": ("beta", "night")}, {"status": ("failure",), "agent": ("helper",)},
        {"attr.region": ("eu",)}, {"attr.tier": ("3",), "model": ("small", "(tool)")}, {"user": ("nobody",)},
        {"tool": ("mail",), "attr.tier": ("gold",)},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("by", [["model"], ["tool", "tag"], []], ids=str)
def test_what_a_question_is_narrowed_to_is_all_that_it_counts(
    reader: Reader, raw: Raw, where: dict[str, tuple[str, ...]], by: list[str]
) -> None:
    scope = Scope(where=where)
    assert told(reader, by, scope) == reckoned(raw, by, where=dict(scope.where))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_two_spans_that_meet_share_no_call_and_leave_none_out(reader: Reader, raw: Raw, data: Any) -> None:
    moments = sorted({call["started_at"] for call in [*raw.calls, *raw.tools]})
    middle = data.draw(st.sampled_from(moments))
    for scope, takes in (
        (Scope(since=middle), lambda row: row["started_at"] >= middle),
        (Scope(until=middle), lambda row: row["started_at"] < middle),
    ):
        for by in (["model"], ["tool"]):
            assert told(reader, by, scope) == reckoned(raw, by, takes)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    by=st.lists(
        st.sampled_from([name for name in ALL if name not in ("step",) and "attr" not in name]),
        max_size=3,
        unique=True,
    ),
    where=st.dictionaries(
        st.sampled_from(["user", "model", "agent", "tool", "tag", "status"]),
        st.sampled_from(["ada", "(none)", "small", "helper", "mail", "beta", "failure"]).map(
            lambda value: (value,)
        ),
        max_size=2,
    ),
)
def test_what_runs_say_in_short_is_what_their_rows_say(
    reader: Reader, by: list[str], where: dict[str, tuple[str, ...]]
) -> None:
    scope = Scope(where=where)
    groups, total = Summing(tuple(by), scope).of(reader)
    expected = {key: sums_of(spent) for key, spent in groups.items()}
    assert told(reader, by, scope) == (expected if by else {(): sums_of(total)} if total.runs else {})
    assert sums_of(spending(reader, by, scope).total) == sums_of(total)


# ── a synopsis is of the rows as they are now ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(5))
def test_a_run_that_is_over_has_its_synopsis_and_it_is_that_of_its_rows(db: Path, seed: int) -> None:
    with Tracer(db, prices=traffic.PRICES, budget=traffic.BUDGET) as tracer:
        traffic.record(tracer, seed)
    with Reader(db) as reader:
        runs = list(reader.execute("select id, synopsis from runs"))
        assert len(runs) == 12
        for run_id, synopsis in runs:
            assert synopsis == encoded(of_run(reader.execute, run_id))


def test_a_file_of_an_earlier_version_gives_the_same_answer(
    traffic_file: Path, raw: Raw, tmp_path: Path
) -> None:
    old = traffic.without_synopses(traffic_file, tmp_path / "old.db")
    with Reader(old) as reader:
        for by in (["model"], ["tool", "user"], ["day"]):
            assert told(reader, by) == reckoned(raw, by)


@pytest.mark.parametrize(
    "broken", ["", "{}", "[", "[1,2,3]", "[[],[],null,null,[[0,0,0]]]", "\x00", b"\xff"], ids=repr
)
def test_a_synopsis_that_is_none_is_not_believed(
    traffic_file: Path, raw: Raw, tmp_path: Path, broken: str | bytes
) -> None:
    path = tmp_path / "broken.db"
    with closing(sqlite3.connect(traffic_file)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        copy.execute("update runs set synopsis = ?", [broken])
        copy.commit()
    with Reader(path) as reader:
        assert told(reader, ["model"]) == reckoned(raw, ["model"])


def test_what_was_priced_again_is_what_reports_say(traffic_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "repriced.db"
    with closing(sqlite3.connect(traffic_file)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
    with Reader(path) as reader:
        before = told(reader, ["model"])
    repriced_file.apply(path, PriceBook({"foo-9": ModelPrice(input=3, output=5)}), Question(("foo-9",)))
    with Reader(path) as reader:
        assert told(reader, ["model"]) == reckoned(Raw(path), ["model"]) != before
        assert all(synopsis for (synopsis,) in reader.execute("select synopsis from runs"))


def test_a_run_in_the_middle_costs_what_it_has_cost_so_far(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    with tracer.run("long") as run:
        for sent in (10, 20):
            with run.llm("gpt-4o", messages="x") as call:
                call.done(traffic.reply(sent=sent))
            assert spending(stored()).total.input_tokens == {10: 10, 20: 30}[sent]
    assert spending(stored()).total.input_tokens == 30


def test_a_run_that_goes_on_after_it_was_over_is_not_left_at_what_it_was(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    first = tracer.recorder.open_run("a", "waits", session="s")
    tracer.recorder.open_llm("c", parent="a", model="gpt-4o", messages="x")
    tracer.recorder.close_llm("c")
    tracer.recorder.wait("a")
    assert spending(stored()).total.calls == 1
    again = tracer.recorder.open_run("b", "waits", session="s", resume=True)
    assert first is not None
    assert again is not None
    assert first.id == again.id
    tracer.recorder.open_llm("d", parent="b", model="gpt-4o", messages="x")
    tracer.recorder.close_llm("d")
    assert spending(stored()).total.calls == 2
    assert spending(stored()).total.runs == 1
    tracer.recorder.close_run("b")
    assert spending(stored()).total.calls == 2


@given(hour=st.integers(min_value=0, max_value=1_000_000))
def test_hours_days_and_weeks_have_one_name_each(hour: int) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    named = [NAMED[name](hour) for name in TIMES]
    assert named == [f"{at:%Y-%m-%d %H:00}", f"{at:%Y-%m-%d}", f"{at - timedelta(at.weekday()):%Y-%m-%d}"]
    with closing(sqlite3.connect(":memory:")) as connection:
        for name, sql in TIMES.items():
            told = f"select {sql.format('t')} from (select ? as started_at) t"
            assert connection.execute(told, [hour * 3_600_000_000 + 1]).fetchone()[0] == NAMED[name](hour)
