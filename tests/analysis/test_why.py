"""Whoever asks why the bill doubled, and is shown the wrong place, mends what was not broken."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis import weeks
from tests.analysis.conftest import PlantedWeeks
from tests.analysis.weeks import DAY_US, START_US, Clock, Habits, record_week
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.why import Explanation, why
from tokentrace_core.analysis.why.heavy import heavy_user
from tokentrace_core.cli import main
from tokentrace_core.cli.demo.month import CASES
from tokentrace_core.usage import Usage

WEEK_US = 7 * DAY_US
FIRST, SECOND = Scope(START_US, START_US + WEEK_US), Scope(START_US + WEEK_US, START_US + 2 * WEEK_US)
USUAL = Habits()

Compare = Callable[..., Explanation]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return weeks.freeze(monkeypatch)


@pytest.fixture
def compare(db: Path, clock: Clock) -> Compare:
    """Record one week with these habits and the next with those, and ask why."""

    def ask(before: Habits, *after: Habits, prices: PriceBook | None = None) -> Explanation:
        with Tracer(db, prices=prices) as tracer:
            record_week(tracer, clock, 0, before)
            for seed, habits in enumerate(after):
                record_week(tracer, clock, 1, habits, seed)
            assert tracer.flush(20)
        return why(db, FIRST, SECOND)

    return ask


def effects(found: Explanation) -> dict[str, int]:
    return {effect.name: effect.difference for effect in found.effects}


# ── the cause is named ───────────────────────────────────────────────────────────────────────────────────

CACHE = replace(USUAL, cached=0)
CHUNKS = replace(USUAL, prompt=9_000, result_bytes=6_000)
ERRORS = replace(USUAL, failing=4)
VERBOSE = replace(USUAL, output=900, max_tokens=2_000)
LOUD = replace(USUAL, loud=60)


@pytest.mark.parametrize(
    ("habits", "name", "place"),
    [
        (CACHE, "cache_misses", {"agent": "support"}),
        (CHUNKS, "more_retrieved", {"agent": "support", "tool": "search_docs"}),
        (ERRORS, "tool_errors", {"agent": "support", "step": "look", "tool": "search_docs"}),
        (VERBOSE, "verbose_output", {"agent": "support"}),
        (LOUD, "one_user", {"user": "loud"}),
        (replace(CACHE, output=400), "cache_misses", {}),
        (replace(ERRORS, cached=1_500), "tool_errors", {"tool": "search_docs"}),
        (replace(LOUD, output=350), "one_user", {"user": "loud"}),
        (replace(USUAL, model="gpt-4-turbo"), "dearer_models", {"model": "gpt-4-turbo"}),
        (replace(USUAL, runs=120), "more_runs", {}),
        (replace(USUAL, tool_cost=0.02), "tool_costs", {"tool": "search_docs"}),
        (replace(USUAL, turns=9), "more_turns", {"step": "look"}),
    ],
    ids=[
        "cache misses",
        "more chunks",
        "a tool errs",
        "verbose",
        "one user",
        "cache misses and verbose",
        "a tool errs and cache misses",
        "one user and verbose",
        "another model",
        "more runs",
        "a dear tool",
        "more turns",
    ],
)
def test_the_planted_cause_comes_first_with_its_place(
    compare: Compare, habits: Habits, name: str, place: dict[str, str]
) -> None:
    found = compare(USUAL, habits)
    first = found.causes[0]
    assert first.name == name
    assert place.items() <= first.place.items()
    assert first.fix
    assert first.symptom in found.headline
    assert found.difference == sum(effects(found).values())


def test_a_mixed_change_names_both_causes_by_their_dollars(compare: Compare) -> None:
    found = compare(USUAL, replace(CACHE, output=400))
    assert [cause.name for cause in found.causes] == ["cache_misses", "verbose_output"]
    tokens_read, more_output = 2_000 * 240, (400 - 200) * 240
    assert found.causes[0].difference == tokens_read * 1_250  # $2.50 instead of $1.25 for a million
    assert found.causes[1].difference == pytest.approx(more_output * 10_000, rel=0.02)


def test_what_a_loud_user_spends_is_not_said_twice(compare: Compare) -> None:
    found = compare(USUAL, replace(LOUD, failing=4))
    assert {"one_user", "tool_errors"} <= {cause.name for cause in found.causes}
    assert sum(cause.difference for cause in found.causes) <= found.difference * 1.01


def test_when_everybody_spends_twice_as_much_the_greatest_spender_is_no_cause(compare: Compare) -> None:
    habits = replace(USUAL, loud=120)
    assert compare(habits, replace(habits, output=1_500)).causes[0].name == "verbose_output"


def test_whoever_uses_most_of_what_broke_did_not_break_it(compare: Compare) -> None:
    """Half of the cost is one user's, and only theirs rises; by a third, since the cache of what they use is broken."""
    found = compare(replace(USUAL, loud=60), USUAL, replace(CACHE, runs=0, loud=60))
    assert [cause.name for cause in found.causes] == ["cache_misses"]


def test_the_runs_that_are_named_show_it(compare: Compare, db: Path) -> None:
    odd = replace(USUAL, runs=6, failing=9)
    found = compare(USUAL, replace(USUAL, runs=54), odd)
    assert found.causes[0].name == "tool_errors"
    with sqlite3.connect(db) as file:
        calls = dict(file.execute("select id, llm_calls from runs").fetchall())
    assert [calls[run] for run in found.causes[0].run_ids] == [13, 13, 13]


def test_a_tool_that_errs_now_and_then_is_not_blamed_for_a_loop(compare: Compare) -> None:
    """One failure more in a run does not explain eight turns more."""
    found = compare(USUAL, replace(USUAL, turns=12, failing=1))
    assert found.causes[0].name == "more_turns"
    assert "tool" not in found.causes[0].place


def test_a_longer_loop_is_not_taken_for_a_longer_prompt(compare: Compare) -> None:
    found = compare(USUAL, replace(USUAL, turns=12))
    longer = {effect.name: (effect.before, effect.after) for effect in found.effects}["input"]
    assert longer[1] > longer[0] + 500  # what a loop resends makes the mean prompt longer
    assert effects(found)["calls"] == pytest.approx(found.difference, rel=0.01)


def test_more_runs_of_a_dear_kind_are_not_taken_for_dearer_runs(
    compare: Compare, db: Path, clock: Clock
) -> None:
    dear, cheap = replace(USUAL, agent="research", prompt=20_000), replace(USUAL, agent="chat")
    with Tracer(db) as tracer:
        for week, many, few in ((0, cheap, dear), (1, dear, cheap)):
            record_week(tracer, clock, week, replace(many, runs=50))
            record_week(tracer, clock, week, replace(few, runs=10))
    found = why(db, FIRST, SECOND)
    assert found.causes[0].name == "dearer_runs"
    assert effects(found)["kinds"] == pytest.approx(found.difference, rel=0.01)


def test_a_renamed_agent_is_compared_with_what_it_was(compare: Compare) -> None:
    found = compare(USUAL, replace(CACHE, agent="support-2"))
    assert found.causes[0].name == "cache_misses"
    assert effects(found)["cache"] == pytest.approx(found.difference, rel=0.01)


# ── the month's own weeks ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", CASES)
def test_each_planted_week_is_explained_by_its_cause_its_place_and_its_dollars(
    case: str, planted_weeks: PlantedWeeks
) -> None:
    path, weeks_of = planted_weeks(case)
    one, other = (
        Scope(*(round(end.timestamp() * 1e6) for end in ends)) for ends in (weeks_of.before, weeks_of.after)
    )
    found = why(path, one, other)
    assert (found.before.cost, found.after.cost) == (weeks_of.nano_before, weeks_of.nano_after)
    for planted, told in zip(weeks_of.causes, found.causes, strict=False):
        assert told.name == planted.name
        assert (told.place["agent"], told.place["step"]) == (planted.agent, planted.step)
    assert len(found.causes) >= len(weeks_of.causes)
    assert found.causes[0].difference == pytest.approx(weeks_of.causes[0].nano_usd, rel=0.03)
    assert "on flat traffic" in found.headline


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_price_that_rose_is_told_from_more_tokens(compare: Compare) -> None:
    rise = "2026-09-14"
    book = PriceBook({"gpt-4o": [ModelPrice(input=2, output=8), ModelPrice(input=4, output=16, since=rise)]})
    found = compare(USUAL, USUAL, prices=book)
    assert found.causes[0].name == "price_increase"
    assert "$2 → $4" in " ".join(found.causes[0].evidence)
    assert effects(found)["prices"] == pytest.approx(found.difference, rel=0.01)


def test_your_own_prices_are_learnt_from_what_was_charged(compare: Compare) -> None:
    """The reader of a file does not know the prices that the recorder had."""
    book = PriceBook({"ours": ModelPrice(input=3, output=90, cache_read="0.03")})
    ours = replace(USUAL, model="ours")
    found = compare(ours, replace(ours, output=400, cached=1_000), prices=book)
    made = effects(found)
    assert made["prices"] == 0
    assert made["output"] == pytest.approx(200 * 240 * 90_000, rel=0.02)
    assert made["cache"] == 1_000 * 240 * (3_000 - 30)


def test_what_has_no_price_is_told_apart_and_never_counted_as_cheap(compare: Compare) -> None:
    found = compare(USUAL, replace(USUAL, runs=40), replace(USUAL, runs=20, model="foo-9"))
    assert (found.after.unpriced_calls, found.before.unpriced_calls) == (80, 0)
    assert found.causes[0].name == "newly_priced"
    assert effects(found)["priced"] == pytest.approx(found.difference, rel=0.01)
    assert any("80 calls without a price" in note for note in found.notes)


def test_estimated_usage_is_said(db: Path, clock: Clock) -> None:
    with Tracer(db) as tracer:
        for week in (0, 1):
            clock.set(START_US + week * WEEK_US + DAY_US)
            with tracer.run("chat") as run, run.llm("gpt-4o", messages="a question") as call:
                call.done("an answer" * (1 + 50 * week))
    found = why(db, FIRST, SECOND)
    assert found.after.estimated == found.after.cost > 0
    assert any("estimated" in note for note in found.notes)


# ── it adds up ───────────────────────────────────────────────────────────────────────────────────────────

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-20250514", "ours", "foo-9", "free-one")
RICH_PRICES = PriceBook(
    {
        "ours": [
            ModelPrice(input="0.37", output="1.913"),
            ModelPrice(input="0.41", output=2, since="2026-09-20"),
        ]
    },
    free=["free-one"],
    tools={"paid": "0.0000000371"},
)


#: Asked a thousand times; it learns the list once.
LIST = PriceBook()


def record_one_of_everything(tracer: Tracer, clock: Clock, rng: random.Random) -> None:
    facts = {
        "user": rng.choice(["ada", "bob", "eve", None]),
        "agent_version": rng.choice(["1", "2", None]),
        "tags": rng.sample(["a", "b"], rng.randrange(3)),
        "task_type": rng.choice(["t", None]),
    }
    with tracer.run(rng.choice(["chat", "research"]), **facts) as run:
        for _ in range(rng.randrange(5)):
            clock.ns += rng.randrange(10**9, 30_000 * 10**9)
            with run.step(rng.choice(["plan", "act", None])):
                record_a_call(tracer, rng)
                if rng.random() < 0.4:
                    with tracer.tool(rng.choice(["search", "paid"]), {"q": 1}) as tool:
                        tool.done("found")
                if rng.random() < 0.2:
                    with tracer.run("helper"):
                        record_a_call(tracer, rng)


def record_a_call(tracer: Tracer, rng: random.Random) -> None:
    counters = (
        "input_uncached_tokens",
        "cache_read_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
    )
    usage = Usage(
        **{name: rng.choice([0, rng.randrange(5_000), rng.randrange(300_000)]) for name in counters}
    )
    with tracer.llm(rng.choice(MODELS), messages="a question of some length") as call:
        call.done(rng.choice([None, "an answer"]), usage=rng.choice([usage, None]))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two months of everything that can be in a file."""
    path, rng = tmp_path_factory.mktemp("rich") / "traces.db", random.Random(3)
    with pytest.MonkeyPatch.context() as patch:
        clock = weeks.freeze(patch)
        with Tracer(path, prices=RICH_PRICES) as tracer:
            for _ in range(60):
                clock.ns += rng.randrange(DAY_US * 2_000)
                record_one_of_everything(tracer, clock, rng)
            assert tracer.flush(20)
    return path


@pytest.fixture(scope="module")
def spent(rich: Path) -> Callable[[Scope], int]:
    """What the runs of a scope cost, added up row by row, without our SQL."""
    with sqlite3.connect(rich) as file:
        file.row_factory = sqlite3.Row
        runs = [dict(row) for row in file.execute("select * from runs")]
        rows = [
            dict(row)
            for table in ("llm_calls", "tool_calls")
            for row in file.execute(f"select * from {table}")
        ]
    costs: dict[str, int] = {}
    for row in rows:
        costs[row["run_id"]] = costs.get(row["run_id"], 0) + (row["cost_nano_usd"] or 0)

    def add_up(scope: Scope) -> int:
        return sum(costs.get(run["id"], 0) for run in runs if matches(run, scope))

    return add_up


def matches(run: dict[str, Any], scope: Scope) -> bool:
    facts = {
        "user": [run["user_id"] or "(none)"],
        "version": [run["agent_version"] or "(none)"],
        "tag": json.loads(run["tags"] or "[]"),
        "run-name": [run["name"]],
    }
    in_time = (scope.since or 0) <= run["started_at"] < (scope.until or 2**62)
    return in_time and all(set(facts[name]) & set(values) for name, values in scope.where.items())


times = st.integers(START_US, START_US + 62 * DAY_US)
filters = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from([("ada",), ("bob", "eve"), ("(none)",)]),
        "version": st.sampled_from([("1",), ("2",)]),
        "tag": st.sampled_from([("a",), ("b",)]),
        "run-name": st.sampled_from([("chat",), ("research",)]),
    },
)
scopes = st.builds(
    lambda ends, where: Scope(min(ends), max(ends), where), st.tuples(times, times), filters
) | st.builds(lambda where: Scope(where=where), filters)


@settings(max_examples=1_000)
@given(before=scopes, after=scopes)
def test_the_effects_add_up_to_the_nano_dollar(
    rich: Path, spent: Callable[[Scope], int], before: Scope, after: Scope
) -> None:
    found = why(rich, before, after, book=LIST)
    difference = spent(after) - spent(before)
    assert found.difference == difference
    if found.before.runs and found.after.runs:
        assert sum(effects(found).values()) == difference
        for changes in found.changes.values():
            assert sum(change.difference for change in changes) == difference


# ── nothing to explain, and little ───────────────────────────────────────────────────────────────────────


def test_an_empty_period_is_said_and_nothing_else(compare: Compare, db: Path) -> None:
    found = compare(replace(USUAL, runs=0), USUAL)
    assert found.headline.startswith("No run in before; after has 60 runs for $1.8")
    assert not found.causes
    assert not found.effects
    again = why(db, Scope(0, 1), Scope(1, 2))
    assert "nothing to compare" in again.headline


def test_the_same_cost_is_said(compare: Compare, db: Path) -> None:
    compare(USUAL, USUAL)
    found = why(db, FIRST, FIRST)
    assert found.headline == "Cost is the same on flat traffic (60 → 60 runs): $1.86 → $1.86."
    assert not any(effects(found).values())


def test_changes_that_cancel_out_are_both_named(compare: Compare) -> None:
    """The bill is the same, and yet two things happened to it."""
    found = compare(USUAL, replace(USUAL, prompt=3_800, output=0))
    assert abs(found.difference) < found.before.cost * 0.05
    assert {cause.name for cause in found.causes} == {"larger_prompts", "verbose_output"}
    assert {cause.name: cause.difference > 0 for cause in found.causes} == {
        "larger_prompts": True,
        "verbose_output": False,
    }


def test_of_a_cost_that_stays_nobody_is_accused(compare: Compare) -> None:
    """Users come and go every week: in one who spends more while another spends less there is nothing to mend."""
    found = compare(USUAL, replace(USUAL, prompt=3_800, output=10))
    assert abs(found.difference) < found.before.cost * 0.02
    assert found.causes
    assert found.headline.endswith("What rose and what fell even out.")
    before = {"ada": (9, 100_000), "bob": (9, 500_000), "": (50, 2_000_000)}
    swapped = {**before, "ada": (9, 510_000), "bob": (9, 100_000)}
    assert heavy_user(before, swapped) is None
    assert heavy_user(before, {**before, "ada": (9, 500_000)}) == "ada"


def test_a_little_noise_accuses_nobody(compare: Compare) -> None:
    found = compare(USUAL, USUAL)
    assert found.difference
    assert not found.causes
    assert "Nothing stands out" in found.headline


def test_periods_of_different_length_are_compared_by_the_day(compare: Compare, db: Path) -> None:
    compare(USUAL, replace(USUAL, output=900))
    found = why(db, FIRST, Scope(SECOND.since, SECOND.since + 3 * DAY_US))
    assert found.headline.startswith("Cost a day")
    assert "on flat traffic" in found.headline
    assert "Output tokens ballooned" in found.headline
    assert any("not of the same length: 7.0 and 3.0 days" in note for note in found.notes)


def test_what_retention_has_taken_is_said(compare: Compare, db: Path) -> None:
    compare(USUAL, replace(USUAL, output=900))
    days = (datetime.now(UTC) - weeks.START).days
    gone = CliRunner().invoke(main, ["retention", "--apply", "--traces", f"{days - 7}d", "--db", str(db)])
    assert gone.exit_code == 0, gone.output
    found = why(db, FIRST, SECOND)
    assert "nothing to compare" in found.headline
    assert found.before.runs == 0
    assert "before: 60 runs for $1.86 are gone by retention, and not compared." in found.notes


def test_names_without_end_are_put_together(db: Path, clock: Clock) -> None:
    """Some programs put an id into each name; then no run has its like in the other week."""
    with Tracer(db) as tracer:
        for week in (0, 1):
            for number in range(80):
                one = replace(
                    USUAL, runs=1, turns=2, agent=f"ticket-{week}-{number}", cached=2_000 * (1 - week)
                )
                record_week(tracer, clock, week, one)
    found = why(db, FIRST, SECOND)
    assert found.causes[0].name == "cache_misses"
    assert len(found.changes["run"]) <= 13


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of which the second answers at length; to be read only."""
    path = tmp_path_factory.mktemp("wordy") / "traces.db"
    with pytest.MonkeyPatch.context() as patch, Tracer(path) as tracer:
        clock = weeks.freeze(patch)
        record_week(tracer, clock, 0, replace(USUAL, version="1", tags=("old",)))
        record_week(tracer, clock, 1, replace(VERBOSE, version="2", tags=("new",)))
        assert tracer.flush(20)
    return path


@pytest.fixture
def ask(wordy: Path) -> Callable[..., Result]:
    """The command, about these weeks."""

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["why", *arguments], env={"TOKENTRACE_DB": str(wordy)})

    return run


PERIODS = ("--from", "2026-09-07..2026-09-14", "--to", "2026-09-14..2026-09-21")


@pytest.mark.parametrize(
    "arguments",
    [
        PERIODS,
        ("--before", "7d", "--until", "2026-09-21"),
        ("--until", "2026-09-21"),
        ("--versions", "1", "2"),
        ("--tags", "old", "new"),
        (*PERIODS, "--agent", "support"),
    ],
    ids=" ".join,
)
def test_the_same_two_weeks_can_be_named_in_many_ways(
    ask: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    result = ask(*arguments)
    assert result.exit_code == 0, result.output
    assert "Cost doubled on flat traffic (60 → 60 runs): $1.86 → $3.5" in result.output
    assert "1. +$1.6" in result.output
    assert "Output tokens ballooned" in result.output
    assert "max_tokens: 500 → 2000" in result.output


def test_json_has_all_of_it_exactly(ask: Callable[..., Result], wordy: Path) -> None:
    told = json.loads(ask(*PERIODS, "--json").output)
    assert told == why(wordy, FIRST, SECOND, names=(PERIODS[1], PERIODS[3])).document()
    assert told["difference_nano_usd"] == sum(each["difference_nano_usd"] for each in told["effects"])
    assert told["causes"][0]["name"] == "verbose_output"
    assert len(told["causes"][0]["run_ids"]) == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*PERIODS, "--before", "7d"), "in one way"),
        (PERIODS[:2], "give both"),
        (("--from", "2026-09-07", "--to", "x..y"), "is no period"),
        (("--from", "2026-09-14..2026-09-07", "--to", "2026-09-07..2026-09-14"), "ends before it begins"),
        (("--before", "soon"), "is no time"),
        (("--before", "2030-01-01"), "is no duration"),
        (("--since", "7d"), "--since is for"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(
    ask: Callable[..., Result], arguments: tuple[str, ...], sentence: str
) -> None:
    result = ask(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output


def test_who_asks_about_a_time_without_runs_is_told_where_they_are(ask: Callable[..., Result]) -> None:
    result = ask("--until", "2027-09-21")
    assert result.exit_code == 0
    assert "nothing to compare" in result.output
    assert "The file's runs are from 2026-09-07" in result.output


def test_names_from_the_file_cannot_touch_the_terminal(db: Path, clock: Clock) -> None:
    hostile = "[red]x[/red]\x1b]0;x\x07\r\x9b31m\u202e"
    with Tracer(db) as tracer:
        record_week(tracer, clock, 0, replace(USUAL, agent=hostile, model=hostile))
        record_week(tracer, clock, 1, replace(USUAL, agent=hostile, version=hostile, tags=(hostile,)))
    for options in (PERIODS, (*PERIODS, "--json"), ("--tags", hostile, hostile)):
        result = CliRunner().invoke(main, ["why", *options], env={"TOKENTRACE_DB": str(db)})
        assert result.exit_code == 0
        assert not set("\x1b\x07\r\x9b\u202e") & set(result.output)


def test_an_empty_file_has_nothing_to_explain(db: Path) -> None:
    Tracer(db).close()
    result = CliRunner().invoke(main, ["why"], env={"TOKENTRACE_DB": str(db)})
    assert result.exit_code == 0
    assert "There is no run" in result.output
