"""`tokentrace logs`: the questions of an outage, answered from whatever files are left."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.travel.programs import ask_a_model
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.cli import main
from tokentrace_core.line_file import LineFile
from tokentrace_core.logs import RunLog, attach
from tokentrace_core.logs.reading import LogFiles, began_at
from tokentrace_core.logs.report import Reliability, report

Logs = Callable[..., Result]


@pytest.fixture
def logs() -> Logs:
    """Call the command."""
    return lambda *arguments: CliRunner().invoke(main, ["logs", *map(str, arguments)])


@pytest.fixture
def asked(logs: Logs) -> Callable[..., dict[str, Any]]:
    """The same as JSON."""

    def ask(*arguments: object) -> dict[str, Any]:
        done = logs(*arguments, "--json")
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return ask


@pytest.fixture
def recorded(db: Path, path: Path) -> Path:
    """A log of two users' runs: a tool that fails now and then, a loop, a model without a price, a refusal."""
    with Tracer(db, budget=Budget(steps=4)) as tracer:
        attach(tracer, path)
        for user, failures in (("ada", 1), ("bob", 0)):
            with tracer.run("agent", user=user) as run:
                ask_a_model(run)
                for number in range(3 if failures else 7):
                    with run.tool("search", {"q": "cats"}) as tool:
                        tool.done(error="gone" if number < failures else None)
        with tracer.run("agent") as run:
            with run.llm("nobodys-model") as call:
                call.done("Well.")
            for _ in range(3):
                ask_a_model(run)
            with pytest.raises(BudgetExceeded):
                ask_a_model(run)
    return path


def test_errors_latency_cost_loops_and_refusals_are_read_from_the_log_alone(
    recorded: Path, db: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    for left in recorded.parent.glob("traces.db*"):
        left.unlink()
    found = asked(recorded)
    assert (found["runs"], found["broken"], found["foreign"]) == (3, 0, 0)
    search = found["tools"]["search"]
    assert (search["calls"], search["errors"], search["error_rate"]) == (10, 1, 0.1)
    assert search["p95_ms"] > 0
    assert found["models"]["gpt-4o"]["cost"] == {"cost_usd": "0.0175", "cost_nano_usd": 17_500_000}
    assert found["models"]["nobodys-model"]["unpriced_calls"] == 1
    users = {row["user"]: row for row in found["users"]}
    assert {user: row["cost"]["cost_nano_usd"] for user, row in users.items()} == {
        "ada": 3_500_000,
        "bob": 3_500_000,
        None: 10_500_000,
    }
    assert (users[None]["unpriced_calls"], users[None]["estimated_calls"]) == (1, 1)
    assert [(loop["tool"], loop["repeats"]) for loop in found["loops"]] == [("search", 6), ("search", 3)]
    assert found["refused"] == {"steps": 1}


def test_people_get_the_same_as_tables(recorded: Path, logs: Logs) -> None:
    done = logs(recorded)
    assert done.exit_code == 0
    for said in (
        "search",
        "10.0%",
        "gpt-4o",
        "$0.0175",
        "unpriced",
        "ada",
        "called 6 times",
        "refused: 1 call by steps",
    ):
        assert said in done.stdout
    assert "≈$0.0105+?" in done.stdout, "the sum says that it is estimated, and leaves something out"


def test_rotated_and_gzipped_files_are_read_together(
    recorded: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    whole = asked(recorded)
    kept = recorded.read_text().splitlines(keepends=True)
    kept.reverse()
    first, second = recorded.with_name("agent.log.2.gz"), recorded.with_name("agent.log.1")
    first.write_bytes(gzip.compress("".join(kept[:9]).encode()) + gzip.compress("".join(kept[9:12]).encode()))
    second.write_text("".join(kept[12:20]))
    recorded.write_text("".join(kept[20:]))
    assert asked(*sorted(recorded.parent.glob("agent.log*"))) == whole


def test_broken_and_foreign_lines_are_counted_and_skipped(
    recorded: Path, asked: Callable[..., dict[str, Any]], logs: Logs
) -> None:
    before = asked(recorded)
    with recorded.open("ab") as file:
        file.write(b'{"half\n\xff\xfe\n[1]\n3\n\n{"another": "program"}\n' + b"[" * 100_000 + b"\n")
        file.write(
            b'{"message": "tool.complete", "trace_id": null, "cost_nano_usd": "many", "latency_ms": NaN}\n'
        )
    after = asked(recorded)
    assert (after["broken"], after["foreign"]) == (5, 1)
    assert after["cost"] == before["cost"]
    assert after["tools"]["(unknown)"] == {**after["tools"]["(unknown)"], "calls": 1, "p95_ms": None}
    assert "5 broken lines" in logs(recorded).stdout


def test_of_a_gzipped_file_that_is_cut_off_the_rest_counts(
    recorded: Path, asked: Callable[..., dict[str, Any]]
) -> None:
    cut = recorded.with_name("cut.gz")
    data = gzip.compress(recorded.read_bytes() * 200)
    cut.write_bytes(data[: len(data) // 2])
    found = asked(cut)
    assert found["broken"] == 1
    assert found["tools"]["search"]["calls"] > 100


def test_only_a_span_of_time_is_looked_at(recorded: Path, asked: Callable[..., dict[str, Any]]) -> None:
    assert asked(recorded, "--since", "1h")["runs"] == 3
    assert asked(recorded, "--until", "1h")["runs"] == 0
    assert asked(recorded, "--since", "2099-01-01")["cost"]["cost_nano_usd"] == 0


def test_hostile_names_do_not_reach_the_terminal(tracer: Tracer, log: RunLog, path: Path, logs: Logs) -> None:
    with tracer.run("agent", user="\x1b[2J\r\nada") as run:
        for _ in range(3):
            with run.tool("\x1b]0;owned\x07[bold]"):
                pass
    done = logs(path)
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert "␛]0;owned" in done.stdout
    assert "[bold]" in done.stdout


@pytest.mark.parametrize("json_", [[], ["--json"]])
def test_a_file_that_is_not_there_is_one_clear_sentence(logs: Logs, path: Path, json_: list[str]) -> None:
    done = logs(path, *json_)
    assert done.exit_code == 1
    assert done.output == f"Error: {path} cannot be read: No such file or directory\n"


def test_an_empty_log_says_so(logs: Logs, path: Path) -> None:
    path.touch()
    assert logs(path).output.startswith("No run is in these files.")


@given(st.binary(max_size=2_000))
def test_any_bytes_are_a_log(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "any.log"
    path.write_bytes(data)
    lines = LogFiles([path])
    assert report(lines).nano_usd == 0
    assert lines.broken + lines.foreign <= lines.lines + 1


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "message",
                "trace_id",
                "timestamp",
                "latency_ms",
                "cost_usd",
                "cost_nano_usd",
                "tokens",
                "user",
                "tool",
                "scope",
                "repeats",
            ]
        ),
        st.one_of(
            st.text(),
            st.integers(),
            st.floats(),
            st.none(),
            st.booleans(),
            st.lists(st.none()),
            st.sampled_from(
                ["llm.complete", "tool.error", "loop.detected", "budget.exceeded", "2026-11-20T00:00:00Z"]
            ),
        ),
    )
)
def test_any_json_is_a_line(tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("log") / "any.log"
    path.write_text(json.dumps({"message": "tool.complete", "trace_id": "x", **record}) + "\n")
    report(LogFiles([path]))


def test_p95_is_the_nearest_rank() -> None:
    calls = Reliability()
    assert calls.p95_ms is None
    calls.latencies.extend(range(1, 101))
    assert calls.p95_ms == 95
    calls.latencies.extend([101])
    assert calls.p95_ms == 96


def test_a_call_counts_for_the_day_on_which_it_began() -> None:
    at = began_at({"timestamp": "2026-11-21T00:00:00.500000Z", "latency_ms": 500.001})
    assert at is not None
    assert at.isoformat() == "2026-11-20T23:59:59.999999+00:00"


def test_a_log_that_is_rotated_away_goes_on_in_a_new_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokentrace_core.line_file._LOOK_EVERY_S", 0)
    file = LineFile(path)
    file.append("before")
    os.rename(path, path.with_name("agent.log.1"))
    file.append("after")
    assert path.read_text() == "after\n"
    assert path.with_name("agent.log.1").read_text() == "before\n"
    assert path.stat().st_mode & 0o777 == 0o600
