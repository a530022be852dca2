"""`tokentrace tail`: every event once, in order, while it happens; also in a file that is not there yet."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.core import test_cli
from tests.core.test_cli import PYTHON, reply
from tokentrace_core import Tracer
from tokentrace_core.cli import main
from tokentrace_core.ids import Clock
from tokentrace_core.store.reader import Reader

tracer = test_cli.tracer

Follow = Callable[..., Result]


@pytest.fixture
def follow(db: Path, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Tail the file, do the `work` after its first look, and press Ctrl-C after the first look at all of it."""
    looked, worked = threading.Event(), threading.Event()
    tail = importlib.import_module("tokentrace_core.cli.tail")
    for name in ("_from_now", "_from_the_start"):
        monkeypatch.setattr(tail, name, _then(getattr(tail, name), looked.set))
    clock = SimpleNamespace(sleep=_until(worked), monotonic=time.monotonic, time_ns=time.time_ns)
    monkeypatch.setattr(tail, "time", clock)

    def run(work: Callable[[], None], *options: str) -> Result:
        def begin() -> None:
            try:
                assert looked.wait(30)
                work()
            finally:
                worked.set()

        later = threading.Thread(target=begin)
        later.start()
        result = CliRunner().invoke(main, ["--db", str(db), "tail", *options])
        later.join()
        return result

    return run


def _until(worked: threading.Event) -> Callable[[float], None]:
    """A sleep between looks that ends the last one: the one that began when the work was done."""
    done_before = False

    def sleep(_: float) -> None:
        nonlocal done_before
        if done_before:
            raise KeyboardInterrupt
        done_before = worked.wait(0.01)

    return sleep


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


def test_what_is_written_while_tail_looks_does_not_come_out_of_order(
    tracer: Tracer, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracer.flush(10)
    began = threading.Event()

    def work() -> None:
        assert began.wait(30)

    def rows_since(self: Reader, table: str, *rest: Any) -> list[Any]:
        rows = read(self, table, *rest)
        if table == "runs" and not began.is_set():
            _one_run(tracer)  # after the runs were read, before the calls are
            began.set()
        return rows

    read = Reader.rows_since
    monkeypatch.setattr(Reader, "rows_since", rows_since)
    events = [json.loads(line)["event"] for line in follow(work, "--json").stdout.splitlines()]
    assert events == ["run_started", "llm_call", "tool_call", "run_ended"]


def test_a_run_that_ends_in_the_same_microsecond_as_its_calls_still_ends_after_them(
    db: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = Clock().now()
    monkeypatch.setattr(Clock, "now", lambda _: at_once)

    def work() -> None:
        with Tracer(db) as quick:
            _one_run(quick)

    events = [json.loads(line)["event"] for line in follow(work, "--json").stdout.splitlines()]
    assert events == ["run_started", "llm_call", "tool_call", "run_ended"]


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


def test_what_is_estimated_or_has_no_price_is_marked_in_the_line_that_tells_it(
    tracer: Tracer, follow: Follow
) -> None:
    assert tracer.flush(10)

    def work() -> None:
        with _recording(tracer), tracer.run("doubtful") as run:
            with run.llm("small", messages="abcd" * 400) as call:
                call.done("a text")
            with run.llm("foo-9", messages="x") as call:
                call.done(reply())

    _, estimated, unpriced, ended = follow(work).stdout.splitlines()
    assert re.search(r"llm small · ≈[\d,]+ in → ≈2 out · ≈\$0\.\d+ · ", estimated)
    assert "llm foo-9 · 1,000 in → 50 out · unpriced · " in unpriced
    assert re.search(r"run doubtful · ✓ success · ≈\$0\.\d+\+\? · ", ended)


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


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["for people", "--json"])
def test_a_pipe_that_waits_for_a_full_buffer_tells_nothing_while_it_happens(
    tmp_path: Path, options: list[str]
) -> None:
    later = tmp_path / "later.db"
    process = subprocess.Popen(
        [*PYTHON, "--db", str(later), "tail", "--interval", "0.05", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        text=True,
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout
        assert process.stderr
        assert "waiting for" in process.stderr.readline()
        with Tracer(later) as recording:
            _one_run(recording)
        lines = [process.stdout.readline() for _ in range(4)]
        assert process.poll() is None
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
    assert ["triage" in line for line in lines] == [True] * 4
    assert "\x1b" not in "".join(lines)


def test_an_interval_that_is_no_number_of_seconds_is_refused() -> None:
    result = CliRunner().invoke(main, ["tail", "--interval", "nan"])
    assert result.exit_code == 2
    assert "--interval" in result.stderr
