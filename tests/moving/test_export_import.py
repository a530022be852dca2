"""Data go out and come back without loss: whatever is exported and imported is what was there."""

from __future__ import annotations

import csv
import gzip
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.moving.conftest import USER, Cli, record
from tests.travel.programs import ask_a_model
from tokentrace_core import Tracer
from tokentrace_core.cli import main
from tokentrace_core.store.importing import Import
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.retention import Keeping, Retention


@pytest.fixture
def exported(recorded: Path, cli: Cli, tmp_path: Path) -> Path:
    """The lines of `recorded`."""
    path = tmp_path / "first.jsonl"
    cli("export", path, "--db", recorded)
    return path


def again(path: Path, cli: Cli, tmp_path: Path, name: str = "second") -> bytes:
    """Import into a new file, and export that."""
    cli("import", path, "--db", tmp_path / f"{name}.db")
    cli("export", tmp_path / f"{name}.jsonl", "--db", tmp_path / f"{name}.db")
    return (tmp_path / f"{name}.jsonl").read_bytes()


def test_the_export_of_an_import_is_identical(exported: Path, cli: Cli, tmp_path: Path) -> None:
    assert again(exported, cli, tmp_path) == exported.read_bytes()
    tables = Counter(json.loads(line)["table"] for line in exported.read_text().splitlines())
    assert tables == {
        "sessions": 2, "runs": 2, "steps": 3, "llm_calls": 3, "tool_calls": 2,
        "messages": tables["messages"], "prompts": 3, "scores": 1,
    }  # fmt: skip


def test_the_order_of_the_lines_does_not_matter_nor_how_often_they_come(
    exported: Path, cli: Cli, tmp_path: Path
) -> None:
    lines = exported.read_text().splitlines(keepends=True) * 2
    random.Random(4711).shuffle(lines)
    shuffled = tmp_path / "shuffled.jsonl.gz"
    shuffled.write_bytes(gzip.compress("".join(lines).encode()))
    assert again(shuffled, cli, tmp_path) == exported.read_bytes()


def test_a_run_of_several_processes_comes_back_as_it_was(
    tracer: Tracer, db: Path, cli: Cli, tmp_path: Path
) -> None:
    with tracer.run("agent") as run:
        ask_a_model(run)
        headers = tracer.headers()
    tracer.recorder.close_all()
    with Tracer(tmp_path / "elsewhere.db") as other, other.continue_from(headers, "service") as part:
        ask_a_model(part)
    assert tracer.flush(10)
    for name in ("traces", "elsewhere"):
        cli("export", tmp_path / f"{name}.jsonl", "--db", tmp_path / f"{name}.db")
        cli("import", tmp_path / f"{name}.jsonl", "--db", tmp_path / "both.db")
    cli("export", tmp_path / "both.jsonl", "--db", tmp_path / "both.db")
    assert again(tmp_path / "both.jsonl", cli, tmp_path) == (tmp_path / "both.jsonl").read_bytes()
    with Reader(tmp_path / "both.db") as reader:
        [found] = reader.runs()
    assert (found["name"], found["llm_calls"], found["status"]) == ("agent", 2, "success")


def test_what_retention_and_repricing_have_left_comes_back_too(
    recorded: Path, cli: Cli, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(recorded, isolation_level=None)) as connection:
        list(Keeping(connection, Retention(), datetime.now(UTC) + timedelta(days=40)).pieces())
        assert connection.execute("select count(*) from daily_costs").fetchone()[0] > 0
    path = tmp_path / "old.jsonl"
    cli("export", path, "--db", recorded)
    assert again(path, cli, tmp_path) == path.read_bytes()


def test_what_has_ended_does_not_run_again_by_an_older_export(
    tracer: Tracer, db: Path, cli: Cli, tmp_path: Path
) -> None:
    with tracer.run("agent") as run:
        ask_a_model(run)
        assert tracer.flush(10)
        cli("export", tmp_path / "older.jsonl", "--db", db)
    assert tracer.flush(10)
    cli("import", tmp_path / "older.jsonl", "--db", db)
    with Reader(db) as reader:
        assert [row["status"] for row in reader.runs()] == ["success"]


def test_what_was_repriced_stays_so_whatever_older_export_comes(
    tracer: Tracer, db: Path, cli: Cli, tmp_path: Path
) -> None:
    with tracer.run("agent") as run, run.llm("my-model", messages=["Well?"]) as call:
        call.done("Yes.")
    assert tracer.flush(10)
    cli("export", tmp_path / "older.jsonl", "--db", db)
    prices = tmp_path / "prices.json"
    prices.write_text('{"models": {"my-model": {"input": 1, "output": 1}}}')
    cli("reprice", "--apply", "--prices", prices, "--db", db)
    with Reader(db) as reader:
        before = reader.runs()[0]["cost_nano_usd"]
    assert before > 0
    cli("import", tmp_path / "older.jsonl", "--db", db)
    with Reader(db) as reader:
        assert reader.runs()[0]["cost_nano_usd"] == before
        assert [row["cost_nano_usd"] for row in reader.llm_calls(run.id or "")] == [before]


def test_reports_of_an_imported_file_are_those_of_the_first(
    exported: Path, recorded: Path, cli: Cli, tmp_path: Path
) -> None:
    again(exported, cli, tmp_path)
    for command in (["cost", "--by", "model,user"], ["runs"], ["show", "last", "--messages"]):
        said = [json.loads(cli(*command, "--json", "--db", db)) for db in (recorded, tmp_path / "second.db")]
        assert said[0] == said[1]


def test_what_was_purged_does_not_come_back_by_an_import(
    recorded: Path, exported: Path, cli: Cli, tracer: Tracer
) -> None:
    assert tracer.close()
    kept = exported.rename(exported.with_name("kept.jsonl"))  # where a purge cannot look into it
    cli("purge", "--user", USER, "--yes", "--db", recorded)
    done = json.loads(cli("import", kept, "--db", recorded, "--json"))
    assert done["purged"] > 0
    with Reader(recorded) as reader:
        assert [run["name"] for run in reader.runs()] == ["another"]
        assert list(reader.query("select 1 from llm_calls c where run_id not in (select id from runs)")) == []


# ── lines that are none ──────────────────────────────────────────────────────────────────────────────────


def test_broken_lines_are_counted_and_skipped(exported: Path, cli: Cli, tmp_path: Path) -> None:
    whole = exported.read_bytes()
    wrong = [
        b'{"table":"runs","id":"half',
        b"\xff\xfe",
        b"[]",
        b'{"table":"runs"}',
        b'{"table":"runs","id":3}',
        b'{"table":"settings","name":"ledger_key","value":"mine"}',
        b'{"table":"runs; drop table runs","id":"x"}',
        b'{"table":"steps","run_id":"r","id":"s","name":{"a":1}}',
        b'{"table":"steps","run_id":"r","id":"s","number":%d}' % 2**70,
    ]
    exported.write_bytes(b"\n".join([*wrong, whole, b""]))
    done = json.loads(cli("import", exported, "--db", tmp_path / "second.db", "--json"))
    assert done["broken"] == len(wrong)
    cli("export", tmp_path / "second.jsonl", "--db", tmp_path / "second.db")
    assert (tmp_path / "second.jsonl").read_bytes() == whole


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.dictionaries(
                st.sampled_from(
                    ["table", "id", "run_id", "name", "started_at", "ended_at", "status", "begun_elsewhere"]
                ),
                st.one_of(
                    st.none(),
                    st.text(),
                    st.integers(),
                    st.floats(),
                    st.sampled_from(["runs", "steps", "run_parts"]),
                ),
            ).map(lambda row: json.dumps(row).encode()),
        )
    )
)
def test_any_lines_can_be_imported(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("any") / "any.db"
    taken = Import(path)
    taken.take(lines)
    assert taken.rows.total() + taken.broken <= len(lines)


@pytest.mark.parametrize(
    "command", [["import", "nowhere.jsonl"], ["export", "out.jsonl", "--db", "nowhere.db"]]
)
def test_a_file_that_is_not_there_is_one_clear_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1


def test_an_export_takes_no_others_place_and_is_its_owners(recorded: Path, exported: Path) -> None:
    before = exported.read_bytes()
    done = CliRunner().invoke(main, ["export", str(exported), "--db", str(recorded)])
    assert (done.exit_code, exported.read_bytes()) == (1, before)
    assert exported.stat().st_mode & 0o777 == 0o600


def test_an_export_is_in_the_audit_log_and_known_to_a_purge(recorded: Path, exported: Path, cli: Cli) -> None:
    with closing(sqlite3.connect(recorded)) as connection:
        assert connection.execute("select kind, path from copies").fetchall() == [("export", str(exported))]
        assert connection.execute("select action from audit_log").fetchall() == [("export",)]


# ── other forms ──────────────────────────────────────────────────────────────────────────────────────────


def test_stdout_gets_the_same_lines(recorded: Path, exported: Path, cli: Cli) -> None:
    assert cli("export", "-", "--db", recorded).encode() == exported.read_bytes()


def rows_of(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for _, name, *_ in connection.execute(f"pragma table_info({table})")]
        kept = [name for name in names if name not in ("writer_id", "synopsis")]
        return connection.execute(f"select {', '.join(kept)} from {table} order by id").fetchall()


def test_csv_has_every_row_and_no_formula(recorded: Path, cli: Cli, tmp_path: Path) -> None:
    cli("export", tmp_path / "csv", "--csv", "--db", recorded)
    for table in ("runs", "steps", "llm_calls", "tool_calls"):
        with (tmp_path / "csv" / f"{table}.csv").open(newline="") as file:
            found = list(csv.reader(file))[1:]
        told = [["" if value is None else str(value) for value in row] for row in rows_of(recorded, table)]
        assert [[cell.removeprefix("'") for cell in row] for row in found] == told
        assert not [cell for row in found for cell in row if cell.startswith(("=", "+", "@"))]


def test_parquet_has_every_row_with_its_types(recorded: Path, cli: Cli, tmp_path: Path) -> None:
    cli("export", tmp_path / "parquet", "--parquet", "--db", recorded)
    for table in ("runs", "steps", "llm_calls", "tool_calls", "messages", "scores"):
        found = pyarrow.parquet.read_table(tmp_path / "parquet" / f"{table}.parquet").to_pylist()
        assert [tuple(row.values()) for row in found] == sorted(rows_of(recorded, table), key=_key(found))


def _key(found: list[dict[str, Any]]) -> Callable[[tuple[Any, ...]], int]:
    """The order of the export."""
    order = {row["id"]: place for place, row in enumerate(found)}
    place = list(found[0]).index("id")
    return lambda row: order[row[place]]


def test_record_is_what_these_tests_take_it_for(tracer: Tracer, db: Path) -> None:
    record(tracer)
    texts = json.dumps(rows_of(db, "tool_calls"))
    assert "=1+1" in texts
    assert "@gone" in texts
