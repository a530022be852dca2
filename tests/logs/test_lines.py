"""A log that a person greps and a program adds up: which lines there are, what is in them, and what never is."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonjsonlogger.json import JsonFormatter

from tests.travel.programs import USAGE, ask_a_model
from tokentrace_core import Budget, BudgetExceeded, Tracer
from tokentrace_core.logs import DebugOfRuns, JsonLines, RunLog, attach

Lines = Callable[..., list[dict[str, Any]]]
CANARY = "canary.bird@example.com"


def work(tracer: Tracer, **facts: Any) -> str:
    """A run of one step: a model call, and a tool that costs."""
    with (
        tracer.session("ticket 4711"),
        tracer.run("agent", user="ada", **facts) as run,
        run.step("think") as step,
    ):
        ask_a_model(step)
        with step.tool("search", {"q": "cats"}) as tool:
            tool.done("three", cost_usd="0.001")
    assert run.id is not None
    return run.id


def test_a_runs_lines_say_what_happened_where_for_whom_and_what_it_cost(
    tracer: Tracer, log: RunLog, lines: Lines
) -> None:
    run_id = work(tracer)
    found = lines()
    assert [line["message"] for line in found] == [
        "run.start",
        "llm.complete",
        "tool.complete",
        "step.complete",
        "run.end",
    ]
    for line in found:
        assert (line["level"], line["logger"], line["trace_id"]) == ("INFO", "tokentrace", run_id)
        assert (line["run"], line["session"], line["user"]) == ("agent", "ticket 4711", "ada")
        assert line["timestamp"].endswith("Z")
    asked, tool, step, end = found[1:]
    assert (asked["step"], asked["model"], asked["ok"], asked["tokens"]) == (1, "gpt-4o", True, 1_100)
    assert (asked["cost_usd"], asked["cost_nano_usd"]) == ("0.003500000", 3_500_000)
    assert (tool["step"], tool["tool"], tool["ok"], tool["cost_nano_usd"]) == (1, "search", True, 1_000_000)
    assert (step["step"], step["step_name"], step["total_cost_usd"]) == (1, "think", "0.004500000")
    assert (end["status"], end["steps"], end["llm_calls"], end["total_tokens"]) == ("success", 1, 1, 1_100)
    assert all(line["latency_ms"] >= 0 for line in found[1:])
    assert {"cost_usd", "cost_nano_usd"}.isdisjoint({*found[0], *step, *end}), "money stands in one line only"


def test_what_fails_is_an_error_by_its_type_and_without_its_text(
    tracer: Tracer, log: RunLog, lines: Lines
) -> None:
    def fail() -> None:
        with tracer.run("agent") as run:
            with run.tool("search") as tool:
                tool.done(error=f"nothing for {CANARY}")
            with run.llm("gpt-4o"):
                raise LookupError(f"nobody is {CANARY}")

    with pytest.raises(LookupError):
        fail()
    errors = lines("tool.error", "llm.error", "run.end")
    assert [(line["level"], line["ok"], line["error_type"]) for line in errors] == [
        ("ERROR", False, "ToolError"),
        ("ERROR", False, "LookupError"),
        ("ERROR", False, "LookupError"),
    ]
    assert CANARY not in json.dumps(lines())


def test_a_limit_that_comes_near_warns_and_one_that_is_crossed_is_an_error(
    db: Path, path: Path, lines: Lines
) -> None:
    with Tracer(db, budget=Budget(run_usd="0.0048")) as tracer, attach_to(tracer, path):
        with tracer.run("agent") as run:
            ask_a_model(run)
            with pytest.raises(BudgetExceeded):
                ask_a_model(run)
    [near] = lines("budget.warning")
    assert (near["level"], near["scope"], near["pct"], near["run"]) == ("WARNING", "run_usd", 72, "agent")
    [stopped] = lines("budget.exceeded")
    assert (stopped["level"], stopped["scope"], stopped["limit"]) == ("ERROR", "run_usd", "0.004800000")
    assert stopped["spent"] == "0.003500000"
    assert lines("run.end")[0]["error_type"] == "budget_exceeded"


class attach_to:  # noqa: N801
    """A log for the length of a block."""

    def __init__(self, tracer: Tracer, target: Any, **options: Any) -> None:
        self.log = attach(tracer, target, **options)

    def __enter__(self) -> RunLog:
        return self.log

    def __exit__(self, *_: object) -> None:
        self.log.close()


def test_a_tool_called_alike_again_and_again_is_said_at_the_third_time_and_then_ever_more_rarely(
    tracer: Tracer, log: RunLog, lines: Lines
) -> None:
    with tracer.run("agent") as run:
        for number in range(13):
            with run.tool("search", {"q": "cats"}):
                pass
            with run.tool("search", {"q": number}):
                pass
    found = lines("loop.detected")
    assert [(line["level"], line["tool"], line["repeats"]) for line in found] == [
        ("CRITICAL", "search", times) for times in (3, 6, 12)
    ]


def test_what_is_tried_again_after_it_failed_is_a_warning(tracer: Tracer, log: RunLog, lines: Lines) -> None:
    with tracer.run("agent") as run:
        for _ in range(2):
            with pytest.raises(TimeoutError), run.llm("gpt-4o"):
                raise TimeoutError
        ask_a_model(run)
        ask_a_model(run)
        for error in ("gone", None, None):
            with run.tool("search") as tool:
                tool.done(error=error)
    found = [(line["message"], line["attempt"]) for line in lines("llm.retry", "tool.retry")]
    assert found == [("llm.retry", 2), ("llm.retry", 3), ("tool.retry", 2)]


def test_what_was_called_off_did_not_fail(tracer: Tracer, log: RunLog, lines: Lines) -> None:
    with tracer.run("agent") as run, pytest.raises(GeneratorExit), run.llm("gpt-4o"):
        raise GeneratorExit
    [line] = lines("llm.complete")
    assert (line["level"], line["ok"], line["status"]) == ("WARNING", False, "cancelled")


def test_an_unpriced_call_costs_nothing_known_and_not_nothing(
    tracer: Tracer, log: RunLog, lines: Lines
) -> None:
    with tracer.run("agent") as run, run.llm("nobodys-model") as call:
        call.done("Yes.", usage=USAGE)
    [line] = lines("llm.complete")
    assert (line["cost_usd"], line["cost_status"]) == (None, "unpriced")
    assert "cost_nano_usd" not in line


def test_a_part_of_a_run_of_another_process_is_logged_under_that_runs_id(
    tracer: Tracer, log: RunLog, lines: Lines
) -> None:
    headers = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "x-agent-session-id": "s",
    }
    first = tracer.continue_from(headers, "first", user="ada")
    with first, tracer.continue_from(headers, "second"):
        ask_a_model(first)
    ask_a_model(first)
    found = lines()
    assert [line["message"] for line in found[:2]] == ["part.start", "part.start"]
    assert {line["trace_id"] for line in found[:6]} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert [line["user"] for line in lines("part.end")][-1] == "ada"


# ── who gets lines, and from when on ─────────────────────────────────────────────────────────────────────


def test_prompts_and_answers_are_logged_at_debug_only_and_redacted(
    tracer: Tracer, path: Path, lines: Lines
) -> None:
    with attach_to(tracer, path, level="DEBUG"):
        with tracer.run("agent") as run, run.llm("gpt-4o", messages=[f"Write to {CANARY}"]) as call:
            call.done(f"I wrote to {CANARY}")
    prompt, reply = lines("llm.prompt", "llm.reply")
    assert prompt["logger"] == reply["logger"] == "tokentrace.llm"
    assert prompt["messages"] == [{"role": "user", "content": "Write to [EMAIL_REDACTED]"}]
    assert reply["reply"]["content"] == "I wrote to [EMAIL_REDACTED]"


def test_one_run_is_logged_in_full_by_its_id(tracer: Tracer, log: RunLog, lines: Lines) -> None:
    with tracer.run("looked into") as run, tracer.run("nested"):
        assert run.id is not None
        log.debug(run.id)
        ask_a_model(run, "This one.")
    with tracer.run("another") as other:
        ask_a_model(other, "Not this one.")
    assert [line["reply"]["content"] for line in lines("llm.reply")] == ["This one."]
    assert [line["run"] for line in lines("step.start")] == ["looked into"]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a handler of the user's own, on the logger, has got."""
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("tokentrace")
    logger.addHandler(handler)
    yield handler.stream
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logging.getLogger("tokentrace.llm").setLevel(logging.NOTSET)


def test_without_a_target_the_loggers_of_the_user_decide(tracer: Tracer, stream: io.StringIO) -> None:
    attach(tracer)
    work(tracer)
    assert stream.getvalue() == "", "the root logger is at WARNING"
    logging.getLogger("tokentrace").setLevel(logging.INFO)
    work(tracer)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()][-1] == "run.end"


def test_two_loggers_agent_at_info_and_the_model_at_debug_for_one_run(
    tracer: Tracer, stream: io.StringIO
) -> None:
    """S94: as one sets it up with logging's own means."""
    attach(tracer)
    logging.getLogger("tokentrace").setLevel(logging.INFO)
    logging.getLogger("tokentrace.llm").setLevel(logging.DEBUG)
    only = DebugOfRuns()
    handler = logging.getLogger("tokentrace").handlers[-1]
    handler.addFilter(only)
    work(tracer)
    with tracer.run("looked into") as run:
        assert run.id is not None
        only.runs.add(run.id)
        ask_a_model(run)
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in found].count("run.end") == 2
    debug = [line for line in found if line["level"] == "DEBUG"]
    assert [(line["message"], line["trace_id"]) for line in debug] == [
        ("llm.prompt", run.id),
        ("llm.reply", run.id),
    ]


def test_the_users_own_json_formatter_gets_every_fact(tracer: Tracer) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(JsonFormatter("{levelname}{message}", style="{"))
    with attach_to(tracer, handler):
        run_id = work(tracer)
    found = [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    assert [line["message"] for line in found][1:3] == ["llm.complete", "tool.complete"]
    assert {line["trace_id"] for line in found} == {run_id}
    assert found[1]["cost_nano_usd"] == 3_500_000


def test_attaching_changes_nothing_about_logging_and_prints_nothing(
    tracer: Tracer, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def state() -> Any:
        loggers = [logging.getLogger(name) for name in ("", "tokentrace", "tokentrace.llm")]
        return [
            (one.level, list(one.handlers), one.propagate, one.disabled) for one in loggers
        ], logging.root.manager.disable

    handlers = list(logging.root.handlers)
    logging.root.handlers.clear()
    try:
        before = state()
        with attach_to(tracer, path), attach_to(tracer, None):
            with pytest.raises(LookupError), tracer.run("agent"):
                raise LookupError
        assert state() == before
    finally:
        logging.root.handlers.extend(handlers)
    assert path.read_text().count("\n") == 2
    assert capfd.readouterr() == ("", "")


def test_a_closed_log_hears_no_more_and_one_that_nobody_holds_goes_on(
    tracer: Tracer, path: Path, lines: Lines
) -> None:
    attach(tracer, path)
    work(tracer)
    with attach_to(tracer, path.with_name("other.log")):
        pass
    work(tracer)
    assert len(lines("run.end")) == 2
    assert not path.with_name("other.log").exists()


def test_a_log_hears_its_own_tracer_only(tracer: Tracer, log: RunLog, db: Path, lines: Lines) -> None:
    with Tracer(db.with_name("other.db")) as other:
        work(other)
    work(tracer)
    assert len(lines("run.start")) == 1


def test_a_log_that_cannot_be_written_is_said_once_and_the_agent_goes_on(
    tracer: Tracer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    with attach_to(tracer, path) as log:
        work(tracer)
        work(tracer)
    assert log.lost == 10
    assert [str(path) in record.getMessage() for record in caplog.records].count(True) == 1


def test_a_broken_handler_of_the_user_does_not_break_the_agent(tracer: Tracer) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("handler at fault")

    with attach_to(tracer, Broken()):
        work(tracer)
    assert tracer.flush(10)
    assert tracer.losses == {}


def test_the_log_holds_nothing_of_runs_that_are_over(tracer: Tracer, log: RunLog) -> None:
    for _ in range(20):
        work(tracer)
    assert log._narrator._runs == {}


# ── hostile text ─────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = [
    'x\r\n{"level":"INFO","message":"run.end","trace_id":"forged"}',
    "\x1b]0;owned\x07\x1b[2J",
    "\u2028\u2029\x85\x0b\x0c\x1c",
    "\ud800 lone",
    "\x00nul",
    "%s %d {0} %(message)s",
    '"}{"',
    "a" * 100_000,
]


def fail_with(text: str, tracer: Tracer) -> None:
    """A run in which everything is called and says this, and in the end it fails with it."""
    error = type("".join(filter(str.isprintable, text[:50])), (Exception,), {})

    def fail() -> None:
        with tracer.session(text, user=text), tracer.run(text, tags=[text]) as run:
            run.set(note=text)
            with run.step(text) as step, step.tool(text, {text: text}) as tool:
                tool.done(text, error=text)
            with run.llm(text, messages=[text], system=text, stop=text) as call:
                call.done(text)
            raise error(text)

    with pytest.raises(error):
        fail()


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_can_forge_a_line(tracer: Tracer, path: Path, lines: Lines, hostile: str) -> None:
    with attach_to(tracer, path, level="DEBUG"):
        fail_with(hostile, tracer)
    text = path.read_bytes().decode("ascii")
    assert text.splitlines() == text.split("\n")[:-1], "whatever a reader takes for the end of a line"
    assert not [sign for sign in text if sign < " " and sign != "\n"]
    assert len({line["trace_id"] for line in lines()}) == 1
    assert len(lines("run.end")) == 1


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none())))
def test_any_record_becomes_one_line_of_json(facts: dict[str, Any]) -> None:
    record = logging.makeLogRecord(
        {"msg": "an event", "trace_id": "x", **{f"f{name}": v for name, v in facts.items()}}
    )
    line = JsonLines().format(record)
    assert line.isascii()
    assert line.splitlines() == [line]
    assert json.loads(line)["message"] == "an event"


def test_an_exception_that_somebody_logs_is_one_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("tokentrace").error("what %s", "happened", exc_info=sys.exc_info())
    [line] = map(json.loads, stream.getvalue().splitlines())
    assert (line["message"], line["level"]) == ("what happened", "ERROR")
    assert "two\nlines" in line["exception"]


def test_nothing_private_is_in_any_line(tracer: Tracer, path: Path) -> None:
    with attach_to(tracer, path, level="DEBUG"):
        fail_with(CANARY, tracer)
    text = path.read_text()
    assert len(text.splitlines()) == 10
    assert "canary" not in text
