"""On a terminal: colours that tell trouble from success, and reports that are whole however narrow it is."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.core import test_cli
from tests.core.test_cli import PYTHON, Cli, reply
from tokentrace_core import Budget, BudgetExceeded, ModelPrice, PriceBook, Tracer
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader

tracer = test_cli.tracer
cli = test_cli.cli

# ── colours ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a success, a failure, a timeout, an unpriced call and a refused one; and one that went well."""
    db = tmp_path_factory.mktemp("troubled") / "traces.db"
    prices = PriceBook({"small": ModelPrice(input=1, output=10)})
    with Tracer(db, prices=prices, budget=Budget(steps=1, on_unpriced="allow")) as tracer:
        with tracer.run("fine"), tracer.llm("small", messages="x") as call:
            call.done(reply())
        with tracer.run("troubled") as run, run.step("try") as step:
            with step.llm("foo-9", messages="x") as call:
                call.done(reply())
            with pytest.raises(LookupError), step.tool("find"):
                raise LookupError("nothing there")
            with pytest.raises(TimeoutError), step.tool("wait"):
                raise TimeoutError("too slow")
        with tracer.run("stopped") as run:
            with run.llm("small", messages="again") as call:
                call.done(reply())
            with pytest.raises(BudgetExceeded), run.llm("small", messages="again"):
                pass
    return db


@cache
def on_a_terminal(db: Path, *command: str, **environment: str) -> str:
    """What a terminal 120 columns wide is sent."""
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [*PYTHON, "--db", str(db), *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=plain | {"TERM": "xterm-256color", "COLUMNS": "120"} | environment,
    )
    os.close(theirs)
    sent = b"".join(_read_all(ours))
    os.close(ours)
    assert process.wait(60) == 0, sent
    return sent.decode().replace("\r\n", "\n")


def _read_all(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # Linux: the other side is closed
            return
        if not part:
            return
        yield part


def style_of(said: str, shown: str) -> str:
    """The style that stands right before a text, as a terminal is told it; "" if there is none."""
    assert said in shown
    found = re.search(r"\x1b\[([\d;]+)m" + re.escape(said), shown)
    return found[1] if found else ""


GREEN, YELLOW, RED, BOLD_RED = "32", "33", "31", "1;31"


def test_on_a_terminal_a_run_that_failed_stands_out_in_the_list(troubled: Path) -> None:
    shown = on_a_terminal(troubled, "runs")
    assert style_of("✗ failure", shown) == BOLD_RED
    assert style_of("✓ success", shown) == GREEN


@pytest.mark.parametrize(
    ("run", "trouble", "style"),
    [
        ("stopped", "✗ failure", BOLD_RED),
        ("stopped", "⛔ refused", BOLD_RED),
        ("stopped", "budget_exceeded: budget exceeded", RED),
        ("troubled", "✗ failure", BOLD_RED),
        ("troubled", "✗ timeout", BOLD_RED),
        ("troubled", "LookupError: nothing there", RED),
        ("troubled", "TimeoutError: too slow", RED),
        ("troubled", "unpriced", YELLOW),
        ("troubled", "✓ success", GREEN),
    ],
)
def test_on_a_terminal_trouble_in_a_tree_does_not_look_like_the_rest(
    troubled: Path, run: str, trouble: str, style: str
) -> None:
    assert style_of(trouble, on_a_terminal(troubled, "show", _id_of(run, troubled))) == style


def test_on_a_terminal_what_a_sum_leaves_out_is_not_overlooked(troubled: Path) -> None:
    assert style_of("+? 1 call without a price", on_a_terminal(troubled, "cost")) == YELLOW


@pytest.mark.parametrize("command", [["runs"], ["show", "last"], ["cost"], ["doctor"]], ids=" ".join)
def test_who_wants_no_colour_gets_none_and_all_of_the_words(troubled: Path, command: list[str]) -> None:
    plain = on_a_terminal(troubled, *command, NO_COLOR="1")
    colourful = on_a_terminal(troubled, *command, NO_COLOR="")  # no-color.org: empty is not set
    assert "\x1b" not in plain
    assert "\x1b[" in colourful
    assert re.sub(r"\x1b\[[\d;]*m", "", colourful).split() == plain.split()


def _id_of(name: str, db: Path) -> str:
    with Reader(db) as reader:
        return next(str(run["id"]) for run in reader.runs() if run["name"] == name)


# ── width ────────────────────────────────────────────────────────────────────────────────────────────────

BY_ALL = ("cost", "--by", "model,user,session,step-name,tool,day", "--since", "7d")
MODELS = ("claude-sonnet-4-5-20250929", "gpt-4o-mini-2024-07-18")
TOOLS = ("search_knowledge_base", "send_confirmation_email")
USER, STEP = "customer-000123456789", "plan the next move"
HEADERS = ["runs", "calls", "in", "cached", "out", "cost", "share"]


@pytest.fixture
def spread(tracer: Tracer) -> dict[str, list[str]]:
    """Two models, each in a session of its own and with a tool of its own. Model -> what tells its row apart."""
    rows = {}
    for model, tool in zip(MODELS, TOOLS, strict=True):
        with tracer.run("shop", user=USER) as run, run.step(STEP) as step:
            with step.llm(model, messages="x") as call:
                call.done(reply(tools={tool: "{}"}, sent=123_456, got=7_890))
            with step.tool(tool):
                pass
        assert run.span
        day = time.strftime("%Y-%m-%d", time.gmtime(run.span.started_at / 1_000_000))
        rows[model] = [model, USER, run.span.session_id, STEP, tool, day]
    return rows


def test_six_dimensions_on_80_columns_break_no_word_and_lose_no_figure(
    spread: dict[str, list[str]], cli: Cli
) -> None:
    report = json.loads(cli(*BY_ALL, "--json").output)
    lines = cli(*BY_ALL, columns=80).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "model · user · session · step-name · tool · day"
    assert lines[1].split() == HEADERS
    for row in report["rows"]:
        first = next(number for number, line in enumerate(lines) if line.startswith(row["model"]))
        ends = next(number for number in range(first + 1, len(lines)) if lines[number][-1] == "%")
        names = spread[row["model"]]
        label = " · ".join(line.strip() for line in lines[first:ends])
        assert label == " · ".join([*names[:2], names[2][-8:], *names[3:]])
        assert all(line.startswith("  ") for line in lines[first + 1 : ends + 1])
        assert lines[ends].split() == [
            "1",
            "1",
            "123k",
            "0",
            "7,890",
            _dollars(row),
            f"{100 * row['share']:.1f}%",
        ]
    total = lines.index("total")
    assert lines[total + 1].split() == ["2", "2", "247k", "0", "15.8k", _dollars(report["total"]), "100.0%"]
    assert len(lines) <= 2 + 3 * len(MODELS) + 2


def test_figures_that_do_not_stand_under_their_header_cannot_be_compared(
    spread: dict[str, list[str]], cli: Cli
) -> None:
    lines = cli(*BY_ALL, columns=80).output.splitlines()
    ends = lines[1].index("calls") + len("calls")
    figures = [line for line in lines if line.endswith("%")]
    assert len(figures) == len(MODELS) + 1
    assert {len(line) for line in [*figures, lines[1]]} == {len(lines[1])}
    assert all(line[ends - 1].isdigit() and line[ends] == " " for line in figures)


def test_six_dimensions_on_200_columns_are_a_table(spread: dict[str, list[str]], cli: Cli) -> None:
    header, *rows, total = cli(*BY_ALL, columns=200).output.splitlines()
    assert header.split() == ["model", "user", "session", "step-name", "tool", "day", *HEADERS]
    assert len(rows) == len(MODELS)
    for row in rows:
        names = spread[row.split()[0]]
        assert [name for name in [*names[:2], f" {names[2][-8:]} ", *names[3:]] if name not in row] == []
        assert names[2] not in row
        assert row.split()[-7:-2] == ["1", "1", "123,456", "0", "7,890"]
    assert total.split()[:3] == ["total", "2", "2"]


def test_in_a_pipe_an_id_is_whole_for_grep(spread: dict[str, list[str]], cli: Cli) -> None:
    shown = cli(*BY_ALL).output
    assert all(names[2] in shown for names in spread.values())


def test_a_word_no_line_has_room_for_is_cut_not_broken(tracer: Tracer, cli: Cli) -> None:
    with tracer.run("r"), tracer.llm("m" * 120, messages="x") as call:
        call.done(reply())
    lines = cli("cost", columns=80).output.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if "mm" in line] == ["m" * 77 + "…"]


def test_models_without_a_price_are_named_whole_on_80_columns(tracer: Tracer, cli: Cli) -> None:
    name = "accounts/somebody/deployedModels/llama-v3p1-405b-instruct-long-4711"
    with tracer.run("r"), tracer.llm(name, messages="x") as call:
        call.done(reply())
    lines = cli("prices", columns=80).output.splitlines()
    assert any(line.startswith(name) for line in lines)


def _dollars(row: dict[str, Any]) -> str:
    return show_usd(row["cost_nano_usd"])
