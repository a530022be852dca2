"""The five questions of a bill: each answer is reckoned a second time, in plain Python over the rows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.analysis.conftest import Raw, Row
from tests.core import test_cli
from tests.core.test_cli import HOSTILE, Cli, reply
from tokentrace_core import Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.questions import cost_of_success, driving_tools, spent_on_failures, top_users
from tokentrace_core.analysis.synopses import runs_begun
from tokentrace_core.cli import main
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import Synopsis

tracer = test_cli.tracer
cli = test_cli.cli

FAILED = ("failure", "timeout", "interrupted")


def costs(raw: Raw) -> list[tuple[Row, Row]]:
    """Everything that cost something, with its run."""
    return [(row, raw.run_of[row["run_id"]]) for row in [*raw.calls, *raw.tools]]


def ask(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["cost", "--db", str(path), *arguments])


def answer(path: Path, *arguments: str) -> Any:
    return json.loads(ask(path, "--json", *arguments).output)


# ── when: spend per hour, day, week ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("by", "shape"), [("hour", "%Y-%m-%d %H:00"), ("day", "%Y-%m-%d")])
def test_what_each_hour_and_day_cost(traffic_file: Path, raw: Raw, by: str, shape: str) -> None:
    expected: Counter[str] = Counter()
    for row, _ in costs(raw):
        expected[datetime.fromtimestamp(row["started_at"] / 1_000_000, UTC).strftime(shape)] += (
            row["cost_nano_usd"] or 0
        )
    assert {row[by]: row["cost_nano_usd"] for row in answer(traffic_file, "--by", by)["rows"]} == expected


# ── who: users in the top decile ─────────────────────────────────────────────────────────────────────────


def test_the_dearest_tenth_of_the_users_is_named(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    for number in range(21):
        with tracer.run("x", user=f"user-{number:02}") as run, run.llm("small", messages="x") as call:
            call.done(reply(sent=1_000 * (number + 1)))
    with tracer.run("x") as run, run.llm("small", messages="x") as call:
        call.done(reply(sent=900_000))
    found = top_users(stored())
    assert found.of == 21
    assert [user.spent.key for user in found.users] == [("user-20",), ("user-19",), ("user-18",)]
    assert found.top.runs == 3
    assert found.top.cost_nano_usd == sum(user.spent.cost_nano_usd for user in found.users)
    assert found.total.cost_nano_usd > found.top.cost_nano_usd + 900_000_000


def test_what_a_user_spends_a_day_is_told(traffic_file: Path, reader: Reader, raw: Raw) -> None:
    of_day: dict[str, Counter[str]] = defaultdict(Counter)
    for row, run in costs(raw):
        day = datetime.fromtimestamp(row["started_at"] / 1_000_000, UTC).strftime("%Y-%m-%d")
        of_day[run["user_id"]][day] += row["cost_nano_usd"] or 0
    (user,) = top_users(reader).users
    name = user.spent.key[0]
    assert sum(of_day[name].values()) == max(sum(of_day[each].values()) for each in ("ada", "bob"))
    assert (user.days, user.dearest_day_nano_usd) == (len(of_day[name]), max(of_day[name].values()))
    (row,) = answer(traffic_file, "users")["rows"]
    assert (row["user"], row["cost_nano_usd"]) == (name, sum(of_day[name].values()))


# ── which tools ──────────────────────────────────────────────────────────────────────────────────────────


def led(raw: Raw, runs: list[Row]) -> tuple[Counter[str], Counter[str]]:
    """What the steps after those with a tool's calls cost, and how many there are."""
    nano: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for run in runs:
        before: dict[str | None, Row] = {}
        for step in raw.of_run(raw.steps, run):
            cost = sum(
                row["cost_nano_usd"] or 0
                for row, _ in costs(raw)
                if (row["run_id"], row["step_id"]) == (run["id"], step["id"])
            )
            earlier = before.get(step["agent"])
            tools = raw.tools_of[run["id"], earlier["id"]] if earlier else []
            for place, tool in enumerate(tools):
                nano[tool["name"]] += cost // len(tools) + (place < cost % len(tools))
            steps.update({tool["name"] for tool in tools})
            before[step["agent"]] = step
    return nano, steps


def test_the_tool_that_drives_the_dearest_runs_is_named_first(reader: Reader, raw: Raw) -> None:
    spent: Counter[str] = Counter()
    for row, run in costs(raw):
        spent[run["id"]] += row["cost_nano_usd"] or 0
    ranked = sorted(raw.runs, key=lambda run: (-spent[run["id"]], run["id"]))
    dear, others = ranked[:4], ranked[4:]
    found = driving_tools(reader)
    assert (found.runs, found.other_runs) == (4, 36)
    assert found.cost_nano_usd == sum(spent[run["id"]] for run in dear)
    assert found.other_cost_nano_usd == sum(spent[run["id"]] for run in others)
    assert found.steps == sum(len(raw.of_run(raw.steps, run)) for run in dear)
    nano, steps = led(raw, dear)
    for tool in found.tools:
        own = [call for call in raw.tools if call["name"] == tool.name]
        of_dear = [call for call in own if raw.run_of[call["run_id"]] in dear]
        assert (tool.led_nano_usd, tool.led_steps) == (nano[tool.name], steps[tool.name])
        assert (tool.calls, tool.other_calls) == (len(of_dear), len(own) - len(of_dear))
        assert tool.runs == len({call["run_id"] for call in of_dear})
    assert [tool.led_nano_usd for tool in found.tools] == sorted(nano.values(), reverse=True)
    assert sum(nano.values()) > 0


def test_each_step_is_charged_to_the_tools_that_led_to_it_and_to_no_other(reader: Reader, raw: Raw) -> None:
    nano: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for runs in runs_begun(reader, Scope(), [], Synopsis):
        for sums in chain.from_iterable(synopsis.tools for synopsis in runs.synopses):
            nano[sums.name] += sums.led_nano
            steps[sums.name] += sums.led_steps
    assert (nano, steps) == led(raw, raw.runs)


# ── what a success costs ─────────────────────────────────────────────────────────────────────────────────


def check_outcome(raw: Raw, runs: list[Row], row: dict[str, Any]) -> None:
    ids = {run["id"] for run in runs}
    total = sum(each["cost_nano_usd"] or 0 for each, run in costs(raw) if run["id"] in ids)
    good = [run for run in runs if run["status"] == "success"]
    assert (row["runs"], row["successes"], row["cost_nano_usd"]) == (len(runs), len(good), total)
    assert round(float(row["per_success_usd"]) * 10**9) == round(total / len(good))


def test_a_success_before_and_after_a_change(traffic_file: Path, raw: Raw) -> None:
    began = datetime.fromtimestamp(raw.runs[15]["started_at"] / 1_000_000, UTC)
    before, after = answer(traffic_file, "success", "--changed", began.isoformat())["rows"]
    check_outcome(raw, raw.runs[:15], before)
    check_outcome(raw, raw.runs[15:], after)
    change = float(after["per_success_usd"]) / float(before["per_success_usd"]) - 1
    assert after["change"] == pytest.approx(change, abs=1e-4)
    assert before["change"] is None


def test_a_success_of_one_version_and_of_the_next(traffic_file: Path, raw: Raw) -> None:
    rows = answer(traffic_file, "success", "--versions", "1,2")["rows"]
    assert [row["name"] for row in rows] == ["1", "2"]
    for row in rows:
        check_outcome(raw, [run for run in raw.runs if run["agent_version"] == row["name"]], row)


def test_a_success_week_by_week(traffic_file: Path, raw: Raw) -> None:
    rows = answer(traffic_file, "success")["rows"]
    assert sum(row["runs"] for row in rows) == 40
    assert sum(row["cost_nano_usd"] for row in rows) == sum(
        row["cost_nano_usd"] or 0 for row, _ in costs(raw)
    )


def test_without_a_success_there_is_no_price_of_one(tracer: Tracer, stored: Callable[[], Reader]) -> None:
    with pytest.raises(ValueError, match="lost"), tracer.run("x"):
        raise ValueError("lost")
    (outcome,) = cost_of_success(stored(), [("all", Scope())])
    assert (outcome.runs, outcome.successes, outcome.per_success_nano_usd) == (1, 0, None)


# ── what was spent for nothing ───────────────────────────────────────────────────────────────────────────


def test_what_failed_runs_cost_and_why_they_failed(traffic_file: Path, reader: Reader, raw: Raw) -> None:
    found = spent_on_failures(reader)
    lost = [(row, run) for row, run in costs(raw) if run["status"] in FAILED]
    assert found.failed.cost_nano_usd == sum(row["cost_nano_usd"] or 0 for row, _ in lost) > 0
    reasons: Counter[tuple[str, str]] = Counter()
    for row, run in lost:
        reasons[run["status"], run["error_type"]] += row["cost_nano_usd"] or 0
    assert {row.key: row.cost_nano_usd for row in found.reasons} == reasons
    said = answer(traffic_file, "failed")
    whole = sum(row["cost_nano_usd"] or 0 for row, _ in costs(raw))
    assert said["failed"]["share"] == pytest.approx(found.failed.cost_nano_usd / whole, abs=1e-6)


def test_a_run_that_still_runs_is_not_wasted_but_named(
    tracer: Tracer, stored: Callable[[], Reader], cli: Cli
) -> None:
    with tracer.run("going on") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply(sent=1_000))
        found = spent_on_failures(stored())
        assert (found.failed.runs, found.unfinished.runs, found.unfinished.input_tokens) == (0, 1, 1_000)
        assert "on 1 unfinished run." in cli("cost", "failed").output


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────

ALL = (["users"], ["tools"], ["success"], ["failed"], ["success", "--versions", "1,2"])


@pytest.mark.parametrize("question", ALL, ids=" ".join)
def test_every_answer_says_what_it_leaves_out(traffic_file: Path, question: list[str]) -> None:
    page = ask(traffic_file, *question).output
    assert "+? " in page
    assert "≈ " in page


@pytest.mark.parametrize("question", ALL, ids=" ".join)
@pytest.mark.parametrize(
    "narrowed", [("--user", "ada"), ("--model", "small"), ("--attr", "tier=gold"), ("--until", "2001-01-01")]
)
def test_every_question_can_be_narrowed(
    traffic_file: Path, question: list[str], narrowed: tuple[str, ...]
) -> None:
    assert ask(traffic_file, *question, *narrowed).exit_code == 0
    assert answer(traffic_file, *question, *narrowed)["question"] == question[0]


@pytest.mark.parametrize("question", ALL, ids=" ".join)
def test_an_empty_file_has_an_answer(tracer: Tracer, cli: Cli, question: list[str]) -> None:
    assert cli("cost", *question).exit_code == 0
    assert cli("cost", *question, "--json").exit_code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        ("users", "--changed", "2d"),
        ("success", "--versions", "1"),
        ("success", "--versions", "1,2", "--changed", "2d"),
        ("success", "--since", "1d", "--changed", "2d"),
        ("planets",),
    ],
    ids=" ".join,
)
def test_what_does_not_belong_together_is_wrong_usage(
    tracer: Tracer, cli: Cli, wrong: tuple[str, ...]
) -> None:
    assert cli("cost", *wrong).exit_code == 2


def fail_hostile(tracer: Tracer) -> None:
    with tracer.run(HOSTILE, user=HOSTILE, agent_version=HOSTILE) as run:
        for _ in range(2):
            with run.step(HOSTILE), run.llm("small", messages="x") as call:
                call.done(reply())
            with run.tool(HOSTILE) as tool:
                tool.done("ok")
        raise RuntimeError


@pytest.mark.parametrize("question", ALL, ids=" ".join)
def test_names_that_models_made_up_cannot_steer_the_terminal(
    tracer: Tracer, cli: Cli, question: list[str]
) -> None:
    with pytest.raises(RuntimeError):
        fail_hostile(tracer)
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(cli("cost", *question).output)
