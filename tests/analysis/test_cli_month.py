"""`tokentrace demo --month` is how a new user sees an audit find something: it must end with commands that work."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tokentrace_core.cli import main
from tokentrace_core.store.reader import Reader
from tokentrace_core.tracer import Tracer


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("demo") / "month.db"
    result = call("demo", "--month", "--db", str(path))
    assert result.exit_code == 0, result.output
    return path, result.output


def test_it_says_what_is_wasted_and_the_commands_it_names_find_it(written: tuple[Path, str]) -> None:
    path, said = written
    assert "47% of the tokens are wasted, in four places" in said
    commands = [line.strip() for line in said.splitlines() if line.startswith("  tokentrace ")]
    assert len(commands) > 2
    for command in commands:
        result = call(*shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
        assert str(path) in command
    assert "47 % of" in call("audit", "--db", str(path)).output


def test_its_last_day_is_yesterday_so_that_recent_times_find_something(written: tuple[Path, str]) -> None:
    result = call("cost", "--by", "day", "--since", "7d", "--json", "--db", str(written[0]))
    assert len(json.loads(result.output)["rows"]) >= 5


def test_it_is_not_mixed_with_real_runs(tmp_path: Path, written: tuple[Path, str]) -> None:
    path = tmp_path / "mine.db"
    with Tracer(path) as tracer, tracer.run("mine"):
        pass
    for used in (path, written[0]):
        with Reader(used) as reader:
            before = reader.last_row("runs")
        refused = call("demo", "--month", "--db", str(used))
        assert refused.exit_code == 1
        assert "tokentrace demo --month --db month.db" in refused.output
        with Reader(used) as reader:
            assert reader.last_row("runs") == before


def test_json_is_one_document(tmp_path: Path) -> None:
    result = call("demo", "--month", "--json", "--db", str(tmp_path / "m.db"))
    document = json.loads(result.output)
    assert {place["kind"] for place in document["planted"]} == {
        "retry_storm",
        "refetch",
        "fan_out",
        "preamble",
    }
    assert sum(place["tokens"] for place in document["planted"]) == pytest.approx(
        0.47 * document["tokens"], rel=0.03
    )


def test_options_of_the_other_demo_are_refused(tmp_path: Path) -> None:
    refused = call("demo", "--month", "--model", "openai:gpt-4o", "--db", str(tmp_path / "m.db"))
    assert refused.exit_code == 2
    assert not (tmp_path / "m.db").exists()
