"""Pricing again: never silently, all or nothing, and whoever asks what it was before finds it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.core import test_cli
from tests.core.test_cli import Cli
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.errors import StoreError
from tokentrace_core.store import repriced_file
from tokentrace_core.store.repriced_file import apply
from tokentrace_core.store.repricing import Question

cli = test_cli.cli
Rows = Callable[[str], list[tuple[Any, ...]]]


def reply(sent: int, model: str | None = None, **facts: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": sent, "completion_tokens": 10}
    return {"choices": [], "usage": usage, "model": model} | facts


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@pytest.fixture
def rows(db: Path) -> Rows:
    def ask(sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(db) as file:
            return file.execute(sql).fetchall()

    return ask


@pytest.fixture
def recorded(db: Path) -> None:
    """Two runs: one with three steps and a model that nobody knows, one with a price that was negotiated."""
    with Tracer(db) as tracer, tracer.run("triage") as run:
        for model in ("gpt-4o", "foo-9", "gpt-4o"):
            with run.step(model), tracer.llm(model, messages="x") as call:
                call.done(reply(1_000))
            with tracer.tool("search") as tool:
                tool.done("ok", cost_usd="0.01")
    with Tracer(db, prices=PriceBook({"ours": ModelPrice(input=1, output=1)})) as tracer, tracer.run("chat"):
        with tracer.llm("ours", messages="x") as call:
            call.done(reply(1_000))


FOO = PriceBook({"foo-9": ModelPrice(input=2, output=2)})


# ── what changes ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_that_got_its_price_late_is_in_every_total_afterwards(
    db: Path, rows: Rows, recorded: None
) -> None:
    before = rows("select cost_nano_usd, unpriced_calls, unpriced_tokens from runs where name = 'triage'")
    assert before == [(35_200_000, 1, 1_010)]
    number, result = apply(db, FOO, Question())
    assert rows("select cost_nano_usd, unpriced_calls, unpriced_tokens from runs where name = 'triage'") == [
        (35_200_000 + 2_020_000, 0, 0)
    ]
    assert rows("select cost_nano_usd, cost_status, price_version from llm_calls where model = 'foo-9'") == [
        (2_020_000, "override", "override foo-9")
    ]
    assert rows("select cumulative_cost_nano_usd from steps s join runs r on r.id = run_id and r.name = 'triage'"
                " order by s.number") == [(12_600_000,), (24_620_000,), (37_220_000,)]  # fmt: skip
    assert rows("select id, calls, old_nano_usd, new_nano_usd from repricings") == [
        (number, 1, 2 * 2_600_000 + 1_010_000, 2 * 2_600_000 + 1_010_000 + 2_020_000)
    ]
    assert result.total().changed == 1


def test_totals_are_the_sums_of_their_calls_after_as_before(db: Path, rows: Rows, recorded: None) -> None:
    apply(
        db,
        PriceBook({"gpt-4o": ModelPrice(input=7, output=9), "foo-9": ModelPrice(input=2, output=2)}),
        Question(),
    )
    for sql in (
        "select cost_nano_usd, (select sum(coalesce(cost_nano_usd, 0)) from llm_calls c where c.run_id = r.id)"
        " + (select coalesce(sum(cost_nano_usd), 0) from tool_calls t where t.run_id = r.id) from runs r",
        "select unpriced_calls, (select sum(cost_status = 'unpriced') from llm_calls c where c.run_id = r.id) from runs r",
        "select max(s.cumulative_cost_nano_usd), r.cost_nano_usd from steps s join runs r on r.id = s.run_id group by r.id",
    ):
        assert all(one == other for one, other in rows(sql)), sql


def test_the_old_figure_stays_and_says_where_it_came_from(db: Path, rows: Rows, recorded: None) -> None:
    apply(db, FOO, Question())
    apply(db, PriceBook({"foo-9": ModelPrice(input=3, output=3)}), Question())
    history = rows(
        "select p.old_nano_usd, p.old_status, p.old_version, p.new_nano_usd from repriced_calls p"
        " join repricings r on r.id = p.repricing_id order by r.at"
    )
    assert history == [
        (None, "unpriced", None, 2_020_000),
        (2_020_000, "override", "override foo-9", 3_030_000),
    ]


def test_doing_it_twice_changes_nothing(db: Path, rows: Rows, recorded: None) -> None:
    apply(db, FOO, Question())
    before = rows("select * from runs") + rows("select * from steps") + rows("select * from llm_calls")
    assert apply(db, FOO, Question())[1].total().changed == 0
    assert (
        rows("select * from runs") + rows("select * from steps") + rows("select * from llm_calls") == before
    )


def test_as_of_another_day_its_prices_hold(db: Path, rows: Rows, recorded: None) -> None:
    prices = [ModelPrice(input=2, output=2), ModelPrice(input=1, output=1, since="2026-07-01")]
    book = PriceBook({"foo-9": prices})
    apply(db, book, Question(as_of=date(2026, 6, 30)))
    assert rows("select cost_nano_usd from llm_calls where model = 'foo-9'") == [(2_020_000,)]
    apply(db, book, Question(as_of=date(2026, 7, 1)))
    assert rows("select cost_nano_usd from llm_calls where model = 'foo-9'") == [(1_010_000,)]
    assert rows("select as_of from repricings order by at") == [("2026-06-30",), ("2026-07-01",)]


def test_only_the_models_that_are_named_change(db: Path, rows: Rows, recorded: None) -> None:
    book = PriceBook({"foo-9": ModelPrice(input=2, output=2), "gpt-4o": ModelPrice(input=9, output=9)})
    _, result = apply(db, book, Question(models=("foo-9", "other")))
    assert [group.model for group in result.groups.values()] == ["foo-9"]
    assert rows("select distinct cost_status from llm_calls where model = 'gpt-4o'") == [("priced",)]


def test_only_calls_since_a_time_change(db: Path, recorded: None) -> None:
    later = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert apply(db, FOO, Question(since=later))[1].total().calls == 0


def test_the_tier_and_the_sound_of_a_call_are_not_forgotten(db: Path, rows: Rows) -> None:
    with Tracer(db) as tracer, tracer.run("r"):
        with tracer.llm("gpt-5", service_tier="priority") as call:
            call.done(reply(1_000, service_tier="flex"))
        with tracer.llm("gpt-5", service_tier="flex") as call:
            call.done(reply(1_000, service_tier="default"))
        with tracer.llm("gemini-2.5-flash") as call:
            details = {"audio_tokens": 400}
            call.done(reply(0) | {"usage": reply(1_000)["usage"] | {"prompt_tokens_details": details}})
    before = rows("select cost_nano_usd from llm_calls order by id")
    _, result = apply(db, PriceBook(), Question())
    assert result.total().changed == 0
    assert rows("select cost_nano_usd from llm_calls order by id") == before


# ── what does not ────────────────────────────────────────────────────────────────────────────────────────


def test_a_price_of_your_own_is_not_replaced_by_a_worse_one(db: Path, rows: Rows, recorded: None) -> None:
    """The command line does not know what the program gave its tracer: the figures would get wrong, or lost."""
    _, result = apply(db, PriceBook(), Question())
    assert result.total().kept == 1
    assert rows("select cost_nano_usd, cost_status from llm_calls where model = 'ours'") == [
        (1_010_000, "override")
    ]


def test_a_discount_that_is_not_known_here_is_not_lost(db: Path) -> None:
    with Tracer(db, prices=PriceBook(discounts={"openai": "0.5"})) as tracer, tracer.run("r"):
        with tracer.llm("gpt-4o") as call:
            call.done(reply(1_000))
    _, result = apply(db, PriceBook(), Question())
    assert (result.total().kept, result.total().changed) == (1, 0)
    _, result = apply(db, PriceBook(discounts={"openai": "0.25"}), Question())
    assert result.total().changed == 1


def test_calls_that_cost_nothing_because_nothing_was_sent_stay_free(db: Path, rows: Rows) -> None:
    book = PriceBook({"foo-9": ModelPrice(input=2, output=2)})
    with Tracer(db) as tracer, tracer.run("r") as run:
        with pytest.raises(ZeroDivisionError), tracer.llm("foo-9") as call:
            raise ZeroDivisionError
        with tracer.llm("foo-9") as call:
            call.done(reply(1_000))
    assert run.cost_usd == 0
    apply(db, book, Question())
    unbilled = rows("select cost_nano_usd from llm_calls where input_uncached_tokens is null")
    assert all(cost in (0, None) for (cost,) in unbilled)


def test_a_run_that_is_not_over_is_left_to_whoever_records_it(db: Path, rows: Rows) -> None:
    """At its end it would write its own totals over ours, and the sums would no longer be those of the calls."""
    with Tracer(db) as tracer:
        with tracer.run("open"):
            with tracer.llm("foo-9") as call:
                call.done(reply(1_000))
            assert tracer.flush(5)
            _, result = apply(db, FOO, Question())
            assert (result.unfinished_calls, result.total().calls) == (1, 0)
        assert tracer.flush(5)
    assert apply(db, FOO, Question())[1].total().changed == 1
    assert rows("select cost_nano_usd, unpriced_calls from runs") == [(2_020_000, 0)]


@pytest.mark.parametrize("statement", ["_CALLS", "_STEPS", "_RUNS", "_NOTE"])
def test_an_interrupted_repricing_leaves_everything_as_it_was(
    db: Path, rows: Rows, recorded: None, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """Half of it would be calls that cost one thing and a run that costs another."""
    tables = ("runs", "steps", "llm_calls")
    before = [rows(f"select * from {table}") for table in tables]
    monkeypatch.setattr(repriced_file, statement, "insert into nothing values (1)")
    with pytest.raises(StoreError, match="is as it was"):
        apply(db, FOO, Question())
    assert [rows(f"select * from {table}") for table in tables] == before
    assert rows("select * from repriced_calls") == rows("select * from repricings") == []


def test_a_book_that_fails_half_way_leaves_everything_as_it_was(
    db: Path, rows: Rows, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PriceBook, "price_call", _failing_at(3, PriceBook.price_call))
    before = rows("select * from llm_calls")
    with pytest.raises(ZeroDivisionError):
        apply(db, FOO, Question())
    assert rows("select * from llm_calls") == before
    assert rows("select * from repriced_calls") == []


def _failing_at(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
    calls = iter(range(number))

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) is None:
            raise ZeroDivisionError
        return function(*args, **kwargs)

    return failing


def test_a_file_of_an_earlier_version_is_brought_up_to_date_first(
    db: Path, rows: Rows, recorded: None
) -> None:
    with sqlite3.connect(db) as file:
        file.execute("drop table repricings")
        file.execute("drop table repriced_calls")
        file.execute("delete from _sqlite_migrations where name like 'm005%'")
    apply(db, FOO, Question())
    assert len(rows("select * from repricings")) == 1


# ── on the command line ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def foo(tmp_path: Path) -> str:
    path = tmp_path / "prices.toml"
    path.write_text("[models.'foo-9']\ninput = 2\noutput = 2\n")
    return str(path)


def test_without_apply_nothing_changes_and_both_sums_are_shown(
    cli: Cli, rows: Rows, recorded: None, foo: str
) -> None:
    before = rows("select * from llm_calls")
    result: Result = cli("reprice", "--prices", foo)
    assert result.exit_code == 0
    assert "$0.0062+?" in result.output
    assert "$0.0082" in result.output
    assert "Nothing is changed" in result.output
    assert "1 calls keep their figure" in result.output
    assert rows("select * from llm_calls") == before
    assert rows("select * from repricings") == []


def test_with_apply_it_says_what_it_did(cli: Cli, rows: Rows, recorded: None, foo: str) -> None:
    document = json.loads(cli("reprice", "--prices", foo, "--apply", "--json").output)
    assert document["applied"]
    assert document["total"]["changed_calls"] == 1
    old, new = document["total"]["old"], document["total"]["new"]
    assert Decimal(new["cost_usd"]) - Decimal(old["cost_usd"]) == Decimal("0.00202")
    assert (old["unpriced_calls"], new["unpriced_calls"]) == (1, 0)
    assert rows("select id from repricings") == [(document["repricing"],)]
    assert cli("prices").output.startswith("Every call in ")


def test_the_environment_names_the_prices_for_the_command_line_too(
    cli: Cli, recorded: None, foo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENTRACE_PRICES", foo)
    assert json.loads(cli("reprice", "--json").output)["total"]["changed_calls"] == 1
    assert json.loads(cli("prices", "foo-9", "--json").output)["per_million_usd"]["input"] == "2"


def test_a_price_file_with_a_mistake_is_an_answer_and_no_traceback(
    cli: Cli, recorded: None, tmp_path: Path
) -> None:
    (tmp_path / "wrong.toml").write_text("[models.x]\ninptu = 1")
    result = cli("reprice", "--prices", str(tmp_path / "wrong.toml"))
    assert result.exit_code == 1
    assert "'inptu' is unknown" in result.stderr


def test_a_file_without_calls_says_so(cli: Cli, db: Path) -> None:
    with Tracer(db), Tracer(db).run("empty"):
        pass
    assert "No call" in cli("reprice").output


def test_prices_lists_what_the_list_knows(cli: Cli) -> None:
    found = json.loads(cli("prices", "haiku-4-5", "--list", "--provider", "anthropic", "--json").output)
    assert found == [
        {
            "model": "claude-haiku-4-5",
            "provider": "anthropic",
            "per_million_usd": {
                "input": "1",
                "cache_read": "0.1",
                "cache_write_5m": "1.25",
                "cache_write_1h": "2",
                "output": "5",
            },
        }
    ]
    assert "claude-haiku-4-5" in cli("prices", "haiku-4-5", "--list").output
    assert cli("prices", "no-such-model", "--list").exit_code == 1


def test_prices_shows_the_tiers_of_service_and_what_you_negotiated(cli: Cli, tmp_path: Path) -> None:
    document = json.loads(cli("prices", "gpt-5", "--json").output)
    assert document["service_tiers"]["flex"]["per_million_usd"]["input"] == "0.625"
    (tmp_path / "p.toml").write_text("[discounts]\nopenai = 0.2\n")
    document = json.loads(cli("prices", "gpt-5", "--prices", str(tmp_path / "p.toml"), "--json").output)
    assert document["per_million_usd"]["input"] == "1"
    assert document["price_version"].endswith("less 0.2")


def test_a_fee_for_the_request_is_not_taken_for_a_dearer_token(cli: Cli) -> None:
    document = json.loads(cli("prices", "perplexity/sonar", "--json").output)
    assert (document["per_million_usd"]["input"], document["tiers"]) == ("1", [])
