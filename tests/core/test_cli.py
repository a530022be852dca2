"""The command line as a whole: what a user sees when something is missing, wrong, hostile or piped away."""

from __future__ import annotations

import json
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tokentrace_core import ModelPrice, PriceBook, Tracer
from tokentrace_core import cli as cli_package
from tokentrace_core.cli import COMMANDS, main

Cli = Callable[..., Result]

PYTHON = [sys.executable, "-m", "tokentrace_core.cli"]
HOSTILE = "[red]x[/red]\x1b]0;x\x07\r\x9b31m\u202e"


@pytest.fixture
def tracer(db: Path) -> Iterator[Tracer]:
    """`small` costs a dollar per million tokens in, ten out, and a tenth of a dollar from the cache."""
    with Tracer(db, prices=PriceBook({"small": ModelPrice(input=1, output=10)})) as tracer:
        yield tracer


@pytest.fixture
def cli(tracer: Tracer, db: Path) -> Cli:
    """Run a command on what was recorded so far, in a pipe, or `columns` wide."""

    def run(*arguments: str, columns: int | None = None) -> Result:
        assert tracer.flush(10)
        environment = {"TOKENTRACE_DB": str(db), "COLUMNS": str(columns) if columns else None}
        return CliRunner().invoke(main, arguments, env=environment)

    return run


def reply(content: str = "hi", *, tools: dict[str, str] | None = None, **usage: int) -> dict[str, Any]:
    """A chat completion: `sent`, `cached`, `got`, `thought` tokens; `tools`: name -> arguments."""
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in (tools or {}).items()
    ]
    return {
        "object": "chat.completion",
        "choices": [
            {
                "message": {"role": "assistant", "content": content, "tool_calls": calls},
                "finish_reason": "tool_calls" if calls else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": usage.get("sent", 1_000),
            "completion_tokens": usage.get("got", 50),
            "prompt_tokens_details": {"cached_tokens": usage.get("cached", 0)},
            "completion_tokens_details": {"reasoning_tokens": usage.get("thought", 0)},
        },
    }


@pytest.fixture
def one_run(tracer: Tracer) -> str:
    with tracer.run("triage", user="ada") as run:
        with run.llm("small", messages="where is it?") as call:
            call.done(reply("on its way"))
    assert run.id
    return run.id


# ── finding one's way ────────────────────────────────────────────────────────────────────────────────────


def test_a_command_that_is_not_in_the_help_is_never_found(cli: Cli) -> None:
    shown = cli("--help").output
    for command, question in COMMANDS.items():
        assert f"  {command} " in shown
        assert " ".join(question.split()) in " ".join(shown.split())


def test_a_command_that_is_not_registered_can_never_be_called() -> None:
    folder = Path(cli_package.__file__).parent
    modules = [
        path.relative_to(folder)
        for path in folder.rglob("*.py")
        if path.parent != folder or path.stem[0] != "_"
    ]
    written = {
        path.parts[0].removesuffix(".py").replace("_", "-")
        for path in modules
        if "@main.command" in (folder / path).read_text()
    }
    assert written == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_help_leaves_the_user_guessing(cli: Cli, command: str) -> None:
    result = cli(command, "--help")
    assert result.exit_code == 0
    for option in ("--db", "--json"):
        assert option in result.output
    assert len(result.output.partition("Options:")[0].splitlines()) > 3


def test_help_that_loads_every_command_is_slow() -> None:
    code = (
        "import sys; from tokentrace_core.cli import main; main(['--help'], standalone_mode=False);"
        "print([name for name in ('rich', 'genai_prices', 'tokentrace_core.cli.show') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"


def test_the_version_can_be_asked_for(cli: Cli) -> None:
    from tokentrace_core import __version__

    assert cli("--version").output == f"tokentrace, version {__version__}\n"


def test_an_unknown_command_is_wrong_usage(cli: Cli) -> None:
    assert cli("rnus").exit_code == 2


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_file_may_be_named_before_or_after_the_command(one_run: str, cli: Cli, db: Path) -> None:
    cli("runs")
    elsewhere = {"TOKENTRACE_DB": "/nowhere/traces.db"}
    for arguments in (["--db", str(db), "runs", "--json"], ["--json", "runs", "--db", str(db)]):
        result = CliRunner().invoke(main, arguments, env=elsewhere)
        assert json.loads(result.output)["runs"][0]["id"] == one_run


@pytest.mark.parametrize("command", [["runs"], ["show", "last"], ["cost"], ["prices"]])
def test_a_missing_file_is_one_sentence_and_no_traceback(command: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*command, "--db", str(tmp_path / "none.db")])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: there is no file")
    assert result.stderr.count("\n") == 1


def test_a_text_file_is_not_taken_for_a_trace(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no database at all, " * 100)
    result = CliRunner().invoke(main, ["runs", "--db", str(text)])
    assert result.exit_code == 1
    assert "not a database" in result.stderr


def test_another_programs_database_is_not_taken_for_a_trace(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("create table things (id)")
    connection.close()
    result = CliRunner().invoke(main, ["runs", "--db", str(other)])
    assert result.exit_code == 1
    assert "not one of tokentrace's" in result.stderr


def test_a_file_of_a_newer_version_is_not_half_read(one_run: str, cli: Cli, db: Path) -> None:
    cli("runs")
    connection = sqlite3.connect(db)
    connection.execute(
        "insert into _sqlite_migrations (migration_set, name, applied_at)"
        " values ('tokentrace', 'm999_the_future', '2099-01-01')"
    )
    connection.commit()
    connection.close()
    result = cli("runs")
    assert result.exit_code == 1
    assert "newer tokentrace" in result.stderr
    assert "m999_the_future" in result.stderr


def test_a_path_with_the_marks_of_a_url_is_still_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20d.db"
    with Tracer(path) as tracer, tracer.run("odd"):
        pass
    assert "odd" in CliRunner().invoke(main, ["runs", "--db", str(path)]).output


# ── naming a run ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_answers_to_its_id_its_ends_and_last(one_run: str, cli: Cli) -> None:
    for reference in (one_run, one_run[:20], one_run[-8:], one_run.upper(), "last"):
        assert json.loads(cli("show", reference, "--json").output)["id"] == one_run


@pytest.mark.parametrize("reference", ["zzz", "", "%", "_", "' or 1=1 --"])
def test_a_run_that_is_not_there_is_said_not_guessed(one_run: str, cli: Cli, reference: str) -> None:
    result = cli("show", reference)
    assert result.exit_code == 1
    assert "no run" in result.stderr
    assert "tokentrace runs" in result.stderr


def test_an_id_of_two_runs_shows_neither(one_run: str, tracer: Tracer, cli: Cli) -> None:
    with tracer.run("another"):
        pass
    result = cli("show", one_run[:3])  # ids sort by time: these share their start
    assert result.exit_code == 1
    assert "more than one run" in result.stderr


# ── output ───────────────────────────────────────────────────────────────────────────────────────────────

REPORTS = (
    ["runs"],
    ["show", "last"],
    ["show", "last", "--messages"],
    ["cost", "--by", "user,model"],
    ["doctor"],
)


@pytest.fixture
def hostile_run(tracer: Tracer) -> None:
    with tracer.run(HOSTILE, user=HOSTILE, tags=[HOSTILE]) as run, run.step(HOSTILE) as step:
        with step.llm(HOSTILE, messages=HOSTILE) as call:
            call.done(reply(HOSTILE, tools={HOSTILE: '"\\u001b[2J"'}))
        with pytest.raises(ValueError, match="red"), step.tool(HOSTILE, {HOSTILE: HOSTILE}):
            raise ValueError(HOSTILE)


@pytest.mark.parametrize("command", REPORTS, ids=" ".join)
def test_stored_text_cannot_take_over_the_terminal(hostile_run: None, cli: Cli, command: list[str]) -> None:
    shown = cli(*command).output
    assert not any(character in shown for character in "\x1b\x07\r\x9b\u202e")
    if command != ["doctor"]:
        assert "[red]x[/red]" in shown


@pytest.mark.parametrize("command", REPORTS, ids=" ".join)
def test_json_keeps_hostile_text_whole_but_harmless(hostile_run: None, cli: Cli, command: list[str]) -> None:
    result = cli(*command, "--json")
    assert not any(character in result.output for character in "\x1b\x07\r\x9b\u202e")
    document = json.loads(result.output)
    if command[0] == "show":
        assert document["name"] == HOSTILE


@pytest.mark.parametrize("command", REPORTS, ids=" ".join)
def test_nothing_is_wider_than_80_columns(one_run: str, tracer: Tracer, cli: Cli, command: list[str]) -> None:
    with tracer.run("a name that goes on and on and on", user="somebody-with-a-long-name") as run:
        for number in range(12):
            with run.step(f"step {number}"), run.llm("small", messages="long " * 100) as call:
                call.done(reply("word " * 100, sent=12_345_678, got=1_234_567))
    lines = cli(*command, columns=80).output.splitlines()
    assert len(lines) > 2
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", REPORTS, ids=" ".join)
def test_a_pipe_gets_no_escape_codes_and_nothing_cut(
    one_run: str, db: Path, cli: Cli, command: list[str]
) -> None:
    cli("runs")
    shown = subprocess.run([*PYTHON, "--db", str(db), *command], capture_output=True, text=True, check=True)
    assert "\x1b" not in shown.stdout
    assert "…" not in shown.stdout
    assert shown.stderr == ""


def test_a_pipe_that_closes_early_is_no_error(one_run: str, db: Path, cli: Cli) -> None:
    cli("runs")
    for options in ([], ["--json"]):
        process = subprocess.Popen(
            [*PYTHON, "--db", str(db), "show", "last", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        process.wait(10)


def test_a_terminal_without_unicode_gets_question_marks_not_a_traceback(
    one_run: str, db: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("runs")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    shown = subprocess.run([*PYTHON, "--db", str(db), "show", "last"], capture_output=True, check=True)
    assert b"triage ? ? success" in shown.stdout


def test_ctrl_c_ends_tail_quietly(db: Path) -> None:
    # As a shell in the foreground starts it: pytest itself may have been started with Ctrl-C ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from tokentrace_core.cli import main; main(prog_name='tokentrace')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--db", str(db.with_name("later.db")), "tail", "--interval", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    assert b"waiting for" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == (b"", b"", 0)


@pytest.mark.parametrize(
    ("redirect", "said"), [(">/dev/full", "cannot be written"), (">&-", "no standard output")]
)
def test_output_that_goes_nowhere_is_one_sentence_and_no_traceback(
    redirect: str, said: str, tracer: Tracer, db: Path
) -> None:
    with tracer.run("agent"):
        pass
    assert tracer.flush(10)
    done = subprocess.run(
        f"{shlex.join(PYTHON)} runs --db {shlex.quote(str(db))} {redirect}",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
