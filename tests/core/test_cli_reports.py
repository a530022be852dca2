"""`runs`, `cost`, `prices`, `doctor`: sums that agree with each other and say what they leave out."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tests.core import test_cli
from tests.core.test_cli import Cli, reply
from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core.analysis.dimensions import GROUPS, NAMES, TAG
from tokentrace_core.cli import checks, price_probe
from tokentrace_core.pricing import show_usd

tracer = test_cli.tracer
cli = test_cli.cli


@pytest.fixture
def three_runs(tracer: Tracer) -> None:
    """Ada's triage with two tools in one step, Bob's with an unknown model, and an estimate of nobody's."""
    with tracer.run("triage", user="ada") as run, run.step("plan"):
        with tracer.llm("small", messages="x") as call:
            call.done(reply(tools={"lookup": "{}", "mail": "{}"}, sent=1_001))
        for name in ("lookup", "mail"):
            with tracer.tool(name) as tool:
                tool.done("ok", cost_usd="0.000001" if name == "mail" else None)
    with tracer.run("triage", user="bob"), tracer.llm("foo-9", messages="x") as call:
        call.done(reply())
    with tracer.run("chat"), tracer.llm("small", messages="abcd" * 400) as call:
        call.done("a text")


# ── what no sum of dollars may hide ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def one_doubtful_run(tracer: Tracer) -> None:
    """A call that is priced, one that is estimated, and one without a price."""
    with tracer.run("doubtful") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply())
        with run.llm("small", messages="abcd" * 400) as call:
            call.done("a text")
        with run.llm("foo-9", messages="x") as call:
            call.done(reply())


@pytest.mark.parametrize("columns", [None, 80], ids=["in a pipe", "on 80 columns"])
@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["runs"], "doubtful"),
        (["show", "last"], "doubtful ·"),
        (["show", "last"], "total "),
        (["cost", "--by", "run-name"], "doubtful"),
        (["cost"], "total"),
    ],
    ids=["runs", "show", "show total", "cost", "cost total"],
)
def test_a_sum_that_hides_estimates_or_unpriced_calls_passes_for_a_fact(
    one_doubtful_run: None, cli: Cli, command: list[str], line: str, columns: int | None
) -> None:
    (shown,) = (row for row in cli(*command, columns=columns).output.splitlines() if line in row)
    assert re.search(r"≈\$0\.\d+\+\?", shown)


@pytest.mark.parametrize("command", [["show", "last"], ["cost"]], ids=" ".join)
def test_a_report_that_keeps_quiet_how_much_is_a_guess_is_believed(
    one_doubtful_run: None, cli: Cli, command: list[str]
) -> None:
    estimated = json.loads(cli("cost", "--json").output)["total"]["estimated_usd"]
    note = next(line for line in cli(*command).output.splitlines() if line.startswith("≈ "))
    assert show_usd(int(Decimal(estimated) * 10**9)) in note
    assert "1 call" in note


def test_a_model_without_a_price_does_not_look_free_in_any_row(one_doubtful_run: None, cli: Cli) -> None:
    row = next(line for line in cli("cost").output.splitlines() if line.startswith("foo-9"))
    assert row.split()[-2:] == ["unpriced", "-"]
    call = next(line for line in cli("show", "last").output.splitlines() if "llm foo-9" in line)
    assert " · unpriced · " in call


def test_how_many_tokens_have_no_price_is_told_with_the_sum(
    one_doubtful_run: None, tracer: Tracer, cli: Cli
) -> None:
    with tracer.run("more"), tracer.llm("foo-9", messages="x") as call:
        call.done(reply(sent=20_000, got=7))
    assert "+? 2 calls without a price (21,057 tokens), not in the cost" in cli("cost").output
    report = json.loads(cli("cost", "--json").output)
    assert report["total"]["unpriced_tokens"] == 21_057
    assert {row["model"]: row["unpriced_tokens"] for row in report["rows"]} == {"small": 0, "foo-9": 21_057}


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_listed_newest_first_with_what_they_cost(three_runs: None, cli: Cli) -> None:
    header, *rows = (line.split() for line in cli("runs").output.splitlines())
    assert header[:4] == ["id", "started", "(UTC)", "name"]
    assert [row[3] for row in rows] == ["chat", "triage", "triage"]
    assert [row[4] for row in rows] == ["-", "bob", "ada"]
    assert [row[-2] for row in rows][1:] == ["unpriced", "$0.0015"]
    assert rows[0][-2].startswith("≈$0.000")


def test_the_short_id_is_enough_to_show_a_run(three_runs: None, cli: Cli) -> None:
    short = cli("runs").output.splitlines()[1].split()[0]
    assert len(short) == 8
    assert "chat" in cli("show", short).output


def test_a_running_run_stays_running(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("slow"):
        assert "▸ running" in cli("runs").output
        (run,) = json.loads(cli("runs", "--json").output)["runs"]
    assert (run["status"], run["ended_at"], run["duration_ms"]) == ("running", None, None)


def test_runs_can_be_limited_and_bounded_in_time(three_runs: None, cli: Cli) -> None:
    assert len(cli("runs", "--limit", "2").output.splitlines()) == 3
    assert len(cli("runs", "--since", "1h").output.splitlines()) == 4
    assert cli("runs", "--since", "2099-01-01").output.startswith("No runs in ")
    assert json.loads(cli("runs", "--since", "2099-01-01", "--json").output) == {"runs": [], "losses": []}
    assert cli("runs", "--limit", "0").exit_code == 2


def test_a_name_is_cut_on_a_narrow_screen_but_an_id_and_a_cost_never(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("a-very-long-name-of-a-run", user="somebody@somewhere") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply(sent=12_345_678, got=100_000))
    assert run.id
    line = cli("runs", columns=80).output.splitlines()[-1]
    assert run.id[-8:] in line
    assert "$13.35" in line
    assert "12.3M/100k" in line
    assert re.search(r" a-very-l?… somebody… ", line)  # rich shares the last column out by release
    assert "a-very-long-name-of-a-run" in cli("runs").output


def test_runs_as_json_have_stable_keys(three_runs: None, cli: Cli) -> None:
    run = json.loads(cli("runs", "--json").output)["runs"][-1]
    assert set(run) == {
        *("id", "name", "status", "session_id", "user_id", "project", "framework", "steps", "llm_calls"),
        *("tool_calls", "refused_calls", "input_tokens", "cached_tokens", "output_tokens", "unpriced_calls"),
        *("estimated_calls", "error_type", "error", "started_at", "ended_at", "duration_ms"),
        *("cost_usd", "cost_nano_usd"),
    }
    assert (run["cost_usd"], run["cost_nano_usd"]) == ("0.001502", 1_502_000)


@pytest.mark.parametrize(
    "time", ["1s", "30m", "24h", "7d", "2w", "2020-01-01", "2020-01-01T10:00:00Z", "2020-01-01T10:00+02:00"]
)
def test_times_may_be_written_as_people_write_them(three_runs: None, cli: Cli, time: str) -> None:
    assert cli("cost", "--since", time).exit_code == 0


@pytest.mark.parametrize(
    "time", ["", "7", "d", "7 d", "-7d", "1y", "yesterday", "99999999999w", "2026-13-01", "\u0667d"]
)
def test_a_time_nobody_understands_is_not_taken_for_everything(cli: Cli, time: str) -> None:
    result = cli("runs", "--since", time)
    assert result.exit_code == 2
    assert "is no time" in result.stderr


# ── cost ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dimension", [name for name in GROUPS if name not in (TAG, NAMES[-1])])
def test_the_parts_always_add_up_to_the_total(three_runs: None, cli: Cli, dimension: str) -> None:
    report = json.loads(cli("cost", "--by", dimension, "--json").output)
    for figure in ("cost_nano_usd", "input_tokens", "output_tokens"):
        assert sum(row[figure] for row in report["rows"]) == report["total"][figure]


def test_cost_by_tool_shares_a_call_among_the_tools_it_asked_for(three_runs: None, cli: Cli) -> None:
    report = json.loads(cli("cost", "--by", "tool", "--json").output)
    by_tool = {row["tool"]: row["cost_nano_usd"] for row in report["rows"]}
    assert by_tool["mail"] - by_tool["lookup"] == 1_000
    assert by_tool["mail"] + by_tool["lookup"] == 1_502_000
    assert sum(by_tool.values()) == report["total"]["cost_nano_usd"]


def test_a_sum_says_what_it_leaves_out_and_what_is_guessed(three_runs: None, cli: Cli) -> None:
    shown = cli("cost").output
    assert (
        "+? 1 call without a price (1,050 tokens), not in the cost: `tokentrace prices` lists the models."
        in shown
    )
    assert "of the cost is estimated: 1 call without reported usage." in shown
    foo = next(line for line in shown.splitlines() if line.startswith("foo-9"))
    assert "unpriced" in foo
    assert "$" not in foo
    total = next(line for line in shown.splitlines() if line.startswith("total"))
    assert "≈$" in total
    assert "+?" in total
    assert "100.0%" in total


def test_cost_as_json_is_exact_and_has_stable_keys(three_runs: None, cli: Cli) -> None:
    report = json.loads(cli("cost", "--by", "user,model", "--since", "1h", "--json").output)
    assert set(report) == {"by", "since", "until", "where", "rows", "total"}
    assert report["by"] == ["user", "model"]
    figures = {
        *("runs", "calls", "input_tokens", "cached_tokens", "output_tokens", "cost_usd", "cost_nano_usd"),
        *("share", "unpriced_calls", "unpriced_tokens", "estimated_calls", "estimated_usd"),
    }
    assert set(report["total"]) == figures
    assert all(set(row) == {"user", "model", *figures} for row in report["rows"])
    ada = next(row for row in report["rows"] if row["user"] == "ada" and row["model"] == "small")
    assert ada["cost_usd"] == "0.001501"


def test_a_misspelt_dimension_names_those_there_are(cli: Cli) -> None:
    result = cli("cost", "--by", "model,usr")
    assert result.exit_code == 2
    assert "'usr'" in result.stderr
    assert all(name in result.stderr for name in GROUPS)


def test_nothing_spent_is_no_error(cli: Cli) -> None:
    assert "total" in cli("cost").output
    assert json.loads(cli("cost", "--json").output)["total"]["cost_usd"] == "0"


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_price_shown_is_the_price_charged(cli: Cli) -> None:
    document = json.loads(cli("prices", "gpt-4o", "--json").output)
    assert document["per_million_usd"]["input"] == "2.5"
    assert document["per_million_usd"]["cache_read"] == "1.25"
    assert document["per_million_usd"]["output"] == "10"
    assert document["price_version"].endswith("openai:gpt-4o")
    shown = cli("prices", "gpt-4o").output
    assert "$10.00" in shown
    assert "context window: 128,000 tokens" in shown


def test_a_dearer_tier_for_long_prompts_is_not_kept_quiet(cli: Cli) -> None:
    document = json.loads(cli("prices", "gemini-2.5-pro", "--json").output)
    (tier,) = document["tiers"]
    assert tier["above_prompt_tokens"] == 200_000
    assert tier["per_million_usd"]["input"] == "2.5"
    assert document["per_million_usd"]["input"] == "1.25"
    assert tier["per_million_usd"]["output"] == "15"
    assert document["per_million_usd"]["output"] == "10"
    assert "prompts over 200,000" in cli("prices", "gemini-2.5-pro").output


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", "gemini-2.5-pro"])
def test_an_odd_price_is_not_rounded(model: str) -> None:
    book = PriceBook({"odd": ModelPrice(input="0.0375", output="0.123456")})
    listed = price_probe.look_up(book, "odd", None)
    assert listed is not None
    (tier,) = listed.tiers
    assert [f"{price:f}" for price in tier.per_million.values()] == [
        "0.0375",
        "0.00375",
        "0.046875",
        "0.075",
        "0.123456",
    ]
    assert price_probe.look_up(PriceBook(), model, None)


@pytest.mark.parametrize("options", [[], ["--json"], ["--provider", "nobody"]])
def test_a_model_without_a_price_says_how_to_give_it_one(cli: Cli, options: list[str]) -> None:
    result = cli("prices", "foo-9", *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert 'Tracer(prices=PriceBook({"foo-9": ModelPrice(input=..., output=...)}))' in result.stderr


def test_prices_alone_lists_the_models_that_make_sums_too_low(three_runs: None, cli: Cli) -> None:
    result = cli("prices")
    assert result.exit_code == 0
    assert "foo-9" in result.output
    assert "1,000" in result.output
    assert "ModelPrice(input=..." in result.output
    (row,) = json.loads(cli("prices", "--json").output)["unpriced"]
    assert row == {"model": "foo-9", "provider": None, "calls": 1, "input_tokens": 1_000, "output_tokens": 50}


def test_prices_alone_says_when_every_call_has_one(tracer: Tracer, cli: Cli) -> None:
    assert cli("prices").output.startswith("Every call in ")


# ── doctor ───────────────────────────────────────────────────────────────────────────────────────────────


def _checks(cli: Cli, *, exit_code: int) -> dict[str, dict[str, str]]:
    result = cli("doctor", "--json")
    assert result.exit_code == exit_code
    document = json.loads(result.output)
    assert document["ok"] is (exit_code == 0)
    return {check["name"]: check for check in document["checks"]}


def test_doctor_finds_a_sound_file_sound(three_runs: None, cli: Cli) -> None:
    found = _checks(cli, exit_code=0)
    assert found["journal mode"]["value"] == "wal"
    assert found["quick check"]["value"] == "ok"
    assert found["mode"] == {"name": "mode", "value": "0600", "verdict": "ok", "advice": None}
    assert found["schema"]["value"].startswith("m001")
    assert "runs 3, " in found["rows"]["value"]
    assert found["runs"]["value"] == "success 3"
    assert (found["unpriced calls"]["verdict"], found["estimated calls"]["value"]) == ("warn", "1")
    assert "✓ quick check" in cli("doctor").output


def test_a_file_that_others_can_read_is_warned_about(three_runs: None, cli: Cli, db: Path) -> None:
    cli("runs")
    db.chmod(0o644)
    mode = _checks(cli, exit_code=0)["mode"]
    assert mode["verdict"] == "warn"
    assert "chmod 600" in mode["advice"]


def test_a_damaged_file_fails(three_runs: None, tracer: Tracer, cli: Cli, db: Path) -> None:
    tracer.close()
    sqlite3.connect(db).execute("pragma wal_checkpoint(truncate)").connection.close()
    content = bytearray(db.read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    db.write_bytes(content)
    found = _checks(cli, exit_code=1)
    assert "fail" in {check["verdict"] for check in found.values()}


def test_a_missing_file_fails_but_the_environment_is_still_told(cli: Cli, tmp_path: Path) -> None:
    result = cli("doctor", "--db", str(tmp_path / "none.db"))
    assert result.exit_code == 1
    assert "tokentrace" in result.output
    assert "there is no file" in result.output


def test_runs_of_a_killed_process_are_pointed_out(tracer: Tracer, cli: Cli, db: Path) -> None:
    with tracer.run("stuck"):
        assert tracer.flush(10)
        alive = _checks(cli, exit_code=0)["running"]
        with closing(sqlite3.connect(db)) as connection:
            connection.execute("update writers set beat_at = 0")
            connection.commit()
        left = _checks(cli, exit_code=0)["running"]
    assert (alive["value"], alive["verdict"]) == ("1 run", "ok")
    assert (left["value"], left["verdict"]) == ("0 runs, 1 left by a dead process", "warn")


def test_what_could_not_be_stored_is_told_wherever_runs_are(tracer: Tracer, cli: Cli, db: Path) -> None:
    with tracer.run("agent"):
        pass
    assert tracer.flush(10)
    assert "lost" not in cli("runs").output
    assert _checks(cli, exit_code=0)["lost records"]["value"] == "none"
    with closing(sqlite3.connect(db)) as connection:
        connection.executemany(
            "insert into losses values (?, ?, ?, ?)",
            [
                ("w1", "disk is full", 7, 10**15),
                ("w2", "disk is full", 5, 10**15),
                ("w2", "queue full", 0, 1),
            ],
        )
        connection.commit()
    line = "12 (12 x disk is full), last 2001-09-09 01:46:40 UTC"
    assert f"records lost: {line}" in " ".join(cli("runs").output.split())
    assert "lost" not in cli("runs", "--since", "1h").output
    lost = json.loads(cli("runs", "--json").output)["losses"]
    assert lost == [{"reason": "disk is full", "records": 12, "at": "2001-09-09T01:46:40.000000Z"}]
    found = _checks(cli, exit_code=0)["lost records"]
    assert (found["value"], found["verdict"]) == (line, "warn")


@pytest.mark.parametrize(
    ("version", "faulty"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((4, 0, 0), False),
    ],
)
def test_sqlite_with_the_wal_reset_bug_is_recognised(version: tuple[int, int, int], faulty: bool) -> None:
    assert checks.has_wal_reset_bug(version) is faulty
    assert checks.check_sqlite(version).verdict == ("warn" if faulty else "ok")


def test_doctor_names_frameworks_without_importing_them(three_runs: None, cli: Cli) -> None:
    import importlib.metadata
    import subprocess
    import sys

    cli("runs")
    code = (
        "import sys; from tokentrace_core.cli.checks import check_environment; names = [c.name for c in check_environment()];"
        "print(names, [m for m in ('langchain_core', 'llama_index', 'crewai', 'openai') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.rstrip().endswith("[]")
    assert ("langchain-core" in shown) == bool(importlib.metadata.version("langchain-core"))
