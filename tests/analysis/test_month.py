"""Every report is measured against the month: if its account is wrong, a wrong report passes for right."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tokentrace_core.cli.demo.month import AUDIT, KINDS, Planted, write_month

START = datetime(2026, 10, 1, tzinfo=UTC)


class Month(NamedTuple):
    planted: Planted
    rows: sqlite3.Connection

    def one(self, sql: str, *values: object) -> int:
        return int(self.rows.execute(sql, values).fetchone()[0])


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    yield from _written(tmp_path_factory.mktemp("month") / "m.db", AUDIT)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Month]:
    yield from _written(tmp_path_factory.mktemp("twin") / "t.db", frozenset())


def _written(path: Path, plant: frozenset[str]) -> Iterator[Month]:
    planted = write_month(path, start=START, plant=plant)
    with closing(sqlite3.connect(path)) as rows:
        yield Month(planted, rows)


_SENT = "input_uncached_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens"
_TOKENS = f"select sum({_SENT} + output_tokens) from llm_calls where usage_source != 'missing'"
_NANO = "select sum(cost_nano_usd) from llm_calls"


def test_the_audit_case_is_the_one_that_was_asked_for(month: Month) -> None:
    planted = month.planted
    assert round(planted.total_tokens / 1e6, 1) == 5.2
    assert round(planted.tokens_after / 1e6, 1) == 2.8
    assert abs(planted.token_share - 0.47) < 0.01
    assert abs(planted.dollar_share - 0.47) < 0.01
    assert set(planted.places) == AUDIT


def test_the_totals_are_those_of_the_rows(month: Month, twin: Month) -> None:
    for told in (month, twin):
        assert told.planted.total_tokens == told.one(_TOKENS)
        assert told.planted.total_nano_usd == told.one(_NANO)


def test_what_is_planted_is_the_whole_difference_to_the_twin(month: Month, twin: Month) -> None:
    places = month.planted.places.values()
    assert month.one(_NANO) - twin.one(_NANO) == sum(place.nano_usd for place in places)
    assert month.one(_TOKENS) - twin.one(_TOKENS) == sum(place.tokens - place.still_sent for place in places)


def test_the_twin_differs_only_by_what_is_planted(month: Month, twin: Month) -> None:
    facts = "select id, name, user_id, session_id, task_type, agent_version, started_at, status from runs order by id"
    assert month.rows.execute(facts).fetchall() == twin.rows.execute(facts).fetchall()
    touched = {run for place in month.planted.places.values() for run, _ in place.calls}
    calls = (
        f"select run_id, model, started_at, cost_nano_usd, {_SENT}, output_tokens, prompt_id from llm_calls"
    )
    told, mended = (
        {row for row in one.rows.execute(calls) if row[0] not in touched} for one in (month, twin)
    )
    assert told == mended
    assert len(told) > 1_000


def test_a_storm_is_what_was_asked_for_more_than_three_times(month: Month) -> None:
    found = month.rows.execute(
        f"""
        with tries as (
            select c.*, row_number() over (partition by c.run_id order by c.started_at) as attempt
            from llm_calls c join steps s on s.run_id = c.run_id and s.id = c.step_id and s.name = 'look up'
        )
        select sum({_SENT} + output_tokens), sum(cost_nano_usd), count(*), max(attempt) from tries where attempt > 3
        """
    ).fetchone()
    storm = month.planted.places["retry_storm"]
    assert found == (storm.tokens, storm.nano_usd, len(storm.calls), 8)
    refused = "select count(*) from tool_calls where name = 'order_lookup' and http_status = 429"
    assert month.one(f"{refused} and status = 'failure'") == month.one(refused) > 200


def test_files_are_sent_again_eight_times_a_session(month: Month) -> None:
    sessions = month.one(
        "select count(distinct r.session_id) from runs r join tool_calls t on t.run_id = r.id and t.name = 'read_file'"
    )
    system = "You review one file at a time by the rules of the repository."
    sizes = month.rows.execute(
        "select bytes from messages where body like '%\"# CLAUDE.md%' or body like '%\"# OWNERS.md%' or body like ?",
        (f"%{system}%",),
    ).fetchall()
    assert len(sizes) == 3
    prefix = sum((size + 3) // 4 for (size,) in sizes)
    place = month.planted.places["refetch"]
    assert place.tokens == place.still_sent == sessions * 8 * prefix
    # Per token: 3,000 nano-dollars in full, 300 from the cache, 3,750 to write it there.
    assert place.nano_usd == sessions * prefix * (8 * (3_000 - 300) - (3_750 - 3_000))
    assert 50_000 < 8 * prefix < 60_000, "about 56 k tokens a session (S127)"


def test_the_whole_change_is_sent_to_each_of_three_reviewers(month: Month) -> None:
    sizes = month.rows.execute(
        """
        select max(m.bytes) from llm_calls c
        join steps s on s.run_id = c.run_id and s.id = c.step_id and s.agent in ('security', 'performance', 'architecture')
        join prompts p on p.id = c.prompt_id join messages m on m.id = p.message_id
        group by c.run_id having count(*) = 3 and count(distinct m.id) = 1
        """
    ).fetchall()
    changes = sum((size + 3) // 4 for (size,) in sizes)
    place = month.planted.places["fan_out"]
    assert 70 < len(sizes) <= 80
    assert place.tokens == pytest.approx(2 * changes, rel=0.01)
    assert place.nano_usd == pytest.approx(changes * (2 * (3_000 - 300) - (3_750 - 3_000)), rel=0.01)


def test_a_preamble_is_about_120_tokens_in_two_of_five_answers(month: Month, twin: Month) -> None:
    final = "select {} from llm_calls c join steps s on s.run_id = c.run_id and s.id = c.step_id where s.name in ('answer', 'comment') and c.status = 'success'"
    spoken = month.one(final.format("sum(output_tokens)")) - twin.one(final.format("sum(output_tokens)"))
    place = month.planted.places["preamble"]
    assert place.tokens == spoken
    assert 100 < spoken / len(place.calls) < 140
    assert abs(len(place.calls) / month.one(final.format("count(*)")) - 0.4) < 0.03


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """A fifth of a month in which nothing is planted."""
    return write_month(tmp_path_factory.mktemp("clean") / "none.db", start=START, plant=(), scale=0.2)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_can_be_planted_alone(kind: str, clean: Planted, tmp_path: Path) -> None:
    planted = write_month(tmp_path / "one.db", start=START, plant={kind}, scale=0.2)
    place = planted.places[kind]
    assert place.nano_usd == planted.total_nano_usd - clean.total_nano_usd > 0
    assert place.tokens - place.still_sent == planted.total_tokens - clean.total_tokens
    with closing(sqlite3.connect(tmp_path / "one.db")) as rows:
        known = set(rows.execute("select run_id, id from llm_calls"))
    assert set(place.calls) <= known
    assert place.calls


def test_the_same_seed_tells_the_same_month(tmp_path: Path) -> None:
    def told(name: str, seed: int) -> list[object]:
        write_month(tmp_path / name, start=START, seed=seed, scale=0.05)
        with closing(sqlite3.connect(tmp_path / name)) as rows:
            parts = ("llm_calls", "tool_calls", "steps", "prompts", "messages", "scores", "run_costs")
            return [rows.execute(f"select * from {part} order by 1, 2").fetchall() for part in parts]

    first = told("a.db", 7)
    assert first == told("b.db", 7)
    assert first != told("c.db", 8)


def test_what_nobody_can_plant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nobody can plant 'typo'; there are .*retry_storm"):
        write_month(tmp_path / "m.db", plant={"typo"})


def test_a_month_has_office_hours_heavy_users_failures_and_scores(month: Month) -> None:
    one = month.one
    noon = "select count(*) from runs where strftime('%H', started_at / 1000000, 'unixepoch') between '08' and '18'"
    assert one(noon) > 0.75 * one("select count(*) from runs")
    assert 40 <= one("select count(distinct user_id) from runs") <= 60
    busiest = one(
        "select sum(n) from (select count(*) n from runs where user_id not null group by user_id order by 1 desc limit 6)"
    )
    assert busiest > 0.4 * one("select count(*) from runs where user_id not null")
    assert one("select count(*) from runs where status = 'failure'") > 0
    assert one("select count(*) from runs where status = 'timeout'") > 0
    assert one("select count(*) from scores") > 100
    assert one("select count(distinct agent_version) from runs where name = 'support'") == 2
    assert one("select count(distinct provider || model_answered) from llm_calls") >= 4
    assert one("select max(ended_at) - min(started_at) from runs") <= 30 * 86_400 * 1_000_000
    assert (
        one(
            "select count(*) from steps s join tool_calls t on t.run_id = s.run_id and t.id = s.parent_call_id"
        )
        > 200
    )


def test_a_month_without_runs_wastes_nothing(tmp_path: Path) -> None:
    planted = write_month(tmp_path / "m.db", start=START, scale=0)
    assert (planted.token_share, planted.dollar_share, planted.tokens_after) == (0, 0, 0)
