"""`tokentrace tail`: every event once, in order, while it happens; also in a file that is not there yet."""

from __future__ import annotations

import importlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.core import test_cli
from tests.core.test_cli import PYTHON, reply
from tokentrace_core import Tracer
from tokentrace_core.cli import main

tracer = test_cli.tracer

Follow = Callable[..., Result]


@pytest.fixture
def follow(db: Path, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Tail the file, do the `work` once it has had its first look, and stop when nothing happens any more."""
    looked = threading.Event()
    tail = importlib.import_module("tokentrace_core.cli.tail")
    for name in ("_from_now", "_from_the_start"):
        monkeypatch.setattr(tail, name, _then(getattr(tail, name), looked.set))

    def run(work: Callable[[], None], *options: str) -> Result:
        def begin() -> None:
            assert looked.wait(30)
            work()

        later = threading.Thread(target=begin)
        later.start()
        arguments = ["--db", str(db), "tail", "--interval", "0.05", "--exit-when-idle", "0.8", *options]
        result = CliRunner().invoke(main, arguments)
        later.join()
        return result

    return run


def _then(function: Callable[..., Any], after: Callable[[], None]) -> Callable[..., Any]:
    def both(*args: Any) -> Any:
        result = function(*args)
        after()
        return result

    return both


@contextmanager
def _recording(tracer: Tracer) -> Iterator[None]:
    yield
    assert tracer.flush(10)


def _one_run(tracer: Tracer) -> None:
    with _recording(tracer), tracer.run("triage") as run:
        with run.llm("small", messages="x") as call:
            call.done(reply())
        with run.tool("lookup", {"id": 4}) as tool:
            tool.done("late")


def test_each_event_is_one_line_in_the_order_it_happened(tracer: Tracer, follow: Follow) -> None:
    assert tracer.flush(10)
    result = follow(lambda: _one_run(tracer))
    assert result.exit_code == 0
    events = [line.split(" ", 2)[2] for line in result.stdout.splitlines()]
    assert events[0] == "run triage started"
    assert events[1].startswith("llm small · 1,000 in → 50 out · $0.0015 · ")
    assert events[2].startswith('tool lookup({"id":4}) · → 4 B')
    assert events[3].startswith("run triage · ✓ success · $0.0015 · ")
    assert len(events) == 4


def test_what_happened_before_is_not_told_again(tracer: Tracer, follow: Follow) -> None:
    _one_run(tracer)
    with tracer.run("open") as run:
        assert tracer.flush(10)

        def end() -> None:
            with _recording(tracer), run.llm("small", messages="x") as call:
                call.done(reply())

        result = follow(end)
    lines = result.stdout.splitlines()
    assert len(lines) == 1
    assert "llm small" in lines[0]
    assert lines[0].endswith(" · open")


def test_a_run_that_was_open_when_tail_began_is_seen_to_end(tracer: Tracer, follow: Follow) -> None:
    with tracer.run("open") as run:
        assert tracer.flush(10)

        def end() -> None:
            with _recording(tracer):
                tracer.recorder.close_run(run.key)

        result = follow(end)
    assert [line.split(" ", 2)[2][:20] for line in result.stdout.splitlines()] == ["run open · ✓ success"]


def test_tail_may_be_started_before_the_agent(db: Path, follow: Follow) -> None:
    def work() -> None:
        with Tracer(db) as late:
            _one_run(late)

    result = follow(work)
    assert result.stderr == f"waiting for {db}\n"
    assert len(result.stdout.splitlines()) == 4


def test_json_events_are_one_document_per_line(tracer: Tracer, follow: Follow) -> None:
    assert tracer.flush(10)
    result = follow(lambda: _one_run(tracer), "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events] == ["run_started", "llm_call", "tool_call", "run_ended"]
    assert {event["run_name"] for event in events} == {"triage"}
    assert (events[1]["cost_usd"], events[3]["cost_usd"]) == ("0.0015", "0.0015")
    assert events[3]["run_id"] == events[3]["id"]


def test_a_file_that_is_no_trace_is_an_error_not_an_endless_wait(db: Path) -> None:
    db.write_text("no database " * 100)
    result = CliRunner().invoke(main, ["--db", str(db), "tail"])
    assert result.exit_code == 1
    assert "not a database" in result.stderr


def test_a_piped_tail_writes_each_line_at_once(tracer: Tracer, db: Path) -> None:
    assert tracer.flush(10)
    process = subprocess.Popen(
        [*PYTHON, "--db", str(db), "tail", "--interval", "0.05"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        # Runs until the first look has been taken, whenever that is.
        done = threading.Event()
        threading.Thread(target=_keep_running, args=(tracer, done), daemon=True).start()
        line = process.stdout.readline()
        done.set()
    finally:
        process.kill()
        process.communicate()
    assert "\x1b" not in line
    assert any(what in line for what in ("run triage", "llm small", "tool lookup"))


def _keep_running(tracer: Tracer, done: threading.Event) -> None:
    while not done.is_set():
        _one_run(tracer)
        time.sleep(0.1)
