"""What is worth a line, how loud it is, and which facts it has: from a recorder's signals to lines.

    DEBUG     step.start · on tokentrace.llm: llm.prompt, llm.reply
    INFO      run.start, run.end, run.waiting, step.complete, llm.complete, tool.complete, part.start, part.end
    WARNING   budget.warning, llm.retry, tool.retry, what was cancelled or interrupted
    ERROR     llm.error, tool.error, budget.exceeded, a run that failed
    CRITICAL  loop.detected

Cost and tokens stand in the lines of calls, and only there: added up, they are what the database says. Lines of steps
and runs have running totals under names of their own (`total_…`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from blinker import NamedSignal

from tokentrace_core import signals
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.payload import Payload
from tokentrace_core.pricing import to_usd
from tokentrace_core.spans import Call, LLMCall, Run, RunPart, Step, ToolCall

AGENT = "tokentrace"
LLM = "tokentrace.llm"

#: The same call so often is a loop (requirement S69).
LOOP = 3

_FAILED = ("failure", "timeout")
_BROKEN_OFF = ("cancelled", "interrupted")

Wanted = Callable[[int, str, str | None], bool]
Receiver = Callable[..., None]


class Line(NamedTuple):
    """One line to be."""

    event: str
    level: int
    facts: dict[str, Any]
    at: int | None = None
    """Microseconds since the epoch; None: now."""
    logger: str = AGENT


class _Told:
    """What has been said of a run under way here."""

    def __init__(self, span: Run | RunPart) -> None:
        self.span = span
        self.parts = 1
        self.steps: dict[str, int] = {}
        """Their numbers, by id."""
        self.failures: Counter[tuple[str, str | None]] = Counter()
        """How often a model or a tool has failed without success since."""
        self.repeats: Counter[tuple[str, str]] = Counter()
        """Tools with the same arguments."""
        self.first: dict[str, list[Payload | None]] = {}
        """Arguments of the first calls of each tool, which need not be looked into unless there are more."""


class Narrator:
    """Hears one recorder. `wanted(level, logger, run id)` says whether a line is worth making, `write` takes it."""

    def __init__(self, wanted: Wanted, write: Callable[[Line], None]) -> None:
        self._wanted = wanted
        self._write = write
        self._runs: dict[str, _Told] = {}
        #: Kept here: blinker holds receivers weakly.
        self.receivers: list[tuple[NamedSignal, Receiver]] = [
            (signals.run_started, lambda _, run: self._run_started("run.start", run)),
            (signals.run_waiting, lambda _, run: self._run_over("run.waiting", run)),
            (signals.run_ended, lambda _, run: self._run_over("run.end", run)),
            (signals.run_part_started, lambda _, part: self._run_started("part.start", part)),
            (signals.run_part_ended, lambda _, part: self._run_over("part.end", part)),
            (signals.step_started, lambda _, step: self._step_started(step)),
            (signals.step_ended, lambda _, step: self._step_ended(step)),
            (signals.llm_call_started, lambda _, call: self._llm_started(call)),
            (signals.llm_call_ended, lambda _, call: self._llm_ended(call)),
            (signals.tool_call_started, lambda _, call: self._tool_started(call)),
            (signals.tool_call_ended, lambda _, call: self._tool_ended(call)),
            (signals.budget_warning, self._near),
            (signals.budget_exceeded, self._exceeded),
        ]

    # ── runs and steps ───────────────────────────────────────────────────────────────────────────────

    def _run_started(self, event: str, run: Run | RunPart) -> None:
        told = self._runs.get(run.run_id)
        if told is None:
            self._runs[run.run_id] = _Told(run)
        elif isinstance(run, RunPart):
            told.parts += 1
        self._say(event, logging.INFO, run.run_id, {}, run.started_at)

    def _run_over(self, event: str, run: Run | RunPart) -> None:
        failed, broken_off = run.status in _FAILED, run.status in _BROKEN_OFF
        level = logging.ERROR if failed else logging.WARNING if broken_off else logging.INFO
        if self._wanted(level, AGENT, run.run_id):
            facts = {"status": run.status, "error_type": run.error_type, "latency_ms": run.duration_ms}
            if event != "run.waiting":
                facts["ok"] = run.status == "success"
            if isinstance(run, Run):
                facts |= _totals(run)
            self._say(event, level, run.run_id, facts, run.ended_at)
        told = self._runs.get(run.run_id)
        if told is not None:
            told.parts -= 1
            if not told.parts:
                self._runs.pop(run.run_id, None)

    def _step_started(self, step: Step) -> None:
        told = self._runs.get(step.run_id)
        if told is not None:
            told.steps[step.id] = step.number
        self._say("step.start", logging.DEBUG, step.run_id, _of_step(step), step.started_at)

    def _step_ended(self, step: Step) -> None:
        if self._wanted(logging.INFO, AGENT, step.run_id):
            facts = _of_step(step) | {
                "ok": step.status == "success",
                "status": step.status,
                "error_type": step.error_type,
                "latency_ms": step.duration_ms,
                "total_cost_usd": str(to_usd(step.cumulative_cost_nano_usd)),
                "total_tokens": step.cumulative_tokens,
            }
            self._say("step.complete", logging.INFO, step.run_id, facts, step.ended_at)

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────

    def _llm_started(self, call: LLMCall) -> None:
        self._note_retry("llm", call, call.model)
        if self._wanted(logging.DEBUG, LLM, call.run_id):
            facts = self._of_call(call) | {"model": call.model, "params": call.params}
            facts["messages"] = call.prompt.messages() if call.prompt else []
            self._say("llm.prompt", logging.DEBUG, call.run_id, facts, call.started_at, LLM)

    def _llm_ended(self, call: LLMCall) -> None:
        self._end(
            "llm",
            call,
            call.model,
            lambda: {
                "model": call.model or call.model_answered,
                "provider": call.provider,
                "tokens": call.total_tokens,
                "input_tokens": call.total_tokens - (call.output_tokens or 0),
                "output_tokens": call.output_tokens or 0,
                "usage_source": call.usage_source,
                "cost_status": call.cost_status,
                "stop_reason": call.stop_reason,
            },
        )
        if self._wanted(logging.DEBUG, LLM, call.run_id) and call.output is not None:
            facts = self._of_call(call) | {"model": call.model, "reply": call.output.value}
            self._say("llm.reply", logging.DEBUG, call.run_id, facts, call.ended_at, LLM)

    def _tool_started(self, call: ToolCall) -> None:
        self._note_retry("tool", call, call.name)
        self._note_repeat(call)

    def _tool_ended(self, call: ToolCall) -> None:
        self._end(
            "tool",
            call,
            call.name,
            lambda: {"tool": call.name, "kind": call.kind, "tokens": 0, "http_status": call.http_status},
        )

    def _end(self, kind: str, call: Call, name: str | None, more: Callable[[], dict[str, Any]]) -> None:
        failed = call.status in _FAILED
        told = self._runs.get(call.run_id)
        if told is not None:
            if failed:
                told.failures[kind, name] += 1
            elif call.status == "success":
                told.failures.pop((kind, name), None)
        event = f"{kind}.error" if failed else f"{kind}.complete"
        level = logging.ERROR if failed else logging.WARNING if call.status in _BROKEN_OFF else logging.INFO
        if self._wanted(level, AGENT, call.run_id):
            facts = self._of_call(call) | more() | _cost(call.cost_nano_usd)
            facts |= {"ok": call.status == "success", "status": call.status, "error_type": call.error_type}
            self._say(event, level, call.run_id, facts | {"latency_ms": call.duration_ms}, call.ended_at)

    def _note_retry(self, kind: str, call: Call, name: str | None) -> None:
        told = self._runs.get(call.run_id)
        failures = told.failures.get((kind, name), 0) if told is not None else 0
        if failures:
            facts = self._of_call(call) | {
                "tool" if kind == "tool" else "model": name,
                "attempt": failures + 1,
            }
            self._say(f"{kind}.retry", logging.WARNING, call.run_id, facts, call.started_at)

    def _note_repeat(self, call: ToolCall) -> None:
        """The same tool with the same arguments is a loop; said at the third time, the sixth, the twelfth …"""
        told = self._runs.get(call.run_id)
        if told is None or not self._wanted(logging.CRITICAL, AGENT, call.run_id):
            return
        first = told.first.setdefault(call.name, [])
        if len(first) < LOOP - 1:
            first.append(call.arguments)
            return
        if not told.repeats or not any(name == call.name for name, _ in told.repeats):
            told.repeats.update((call.name, _id_of(arguments)) for arguments in first)
        same = call.name, _id_of(call.arguments)
        told.repeats[same] += 1
        repeats = told.repeats[same]
        if repeats % LOOP == 0 and (repeats // LOOP).bit_count() == 1:
            facts = self._of_call(call) | {"tool": call.name, "repeats": repeats}
            self._say("loop.detected", logging.CRITICAL, call.run_id, facts, call.started_at)

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────

    def _near(self, _: object, run: Run | None, scope: str, share: float) -> None:
        facts = {"scope": scope, "pct": int(share * 100)}
        self._say("budget.warning", logging.WARNING, run.id if run is not None else None, facts)

    def _exceeded(self, _: object, run: Run, error: BudgetExceeded) -> None:
        facts: dict[str, Any] = {
            "scope": error.scope,
            "spent": str(error.spent),
            "limit": str(error.limit),
        }
        facts |= {"ok": False, "error_type": "budget_exceeded"}
        self._say("budget.exceeded", logging.ERROR, run.id, facts)

    # ── lines ────────────────────────────────────────────────────────────────────────────────────────

    def _of_call(self, call: Call) -> dict[str, Any]:
        told = self._runs.get(call.run_id)
        number = told.steps.get(call.step_id or "") if told is not None else None
        return {"step": number, "span": call.id}

    def _say(
        self,
        event: str,
        level: int,
        run_id: str | None,
        facts: dict[str, Any],
        at: int | None = None,
        logger: str = AGENT,
    ) -> None:
        if self._wanted(level, logger, run_id):
            every = {**self._whose(run_id), **facts}
            known = {name: fact for name, fact in every.items() if fact is not None or name == "cost_usd"}
            self._write(Line(event, level, known, at, logger))

    def _whose(self, run_id: str | None) -> dict[str, Any]:
        told = self._runs.get(run_id or "")
        if told is None:
            return {"trace_id": run_id}
        span = told.span
        return {
            "trace_id": run_id,
            "run": span.name,
            "session": span.session_id,
            "user": span.user_id,
            "project": span.project,
        }


def _of_step(step: Step) -> dict[str, Any]:
    return {"step": step.number, "step_name": step.name, "agent": step.agent, "span": step.id}


def _cost(nano_usd: int | None) -> dict[str, Any]:
    """Exact: as text, which no reader of JSON rounds, and as an integer, which adds up anywhere."""
    if nano_usd is None:
        return {"cost_usd": None}
    return {"cost_usd": str(to_usd(nano_usd)), "cost_nano_usd": nano_usd}


def _totals(run: Run) -> dict[str, Any]:
    return {
        "steps": run.steps,
        "llm_calls": run.llm_calls,
        "tool_calls": run.tool_calls,
        "refused_calls": run.refused_calls,
        "unpriced_calls": run.unpriced_calls,
        "estimated_calls": run.estimated_calls,
        "total_tokens": run.input_tokens + run.output_tokens,
        "total_cost_usd": str(to_usd(run.cost_nano_usd)),
    }


def _id_of(arguments: Payload | None) -> str:
    return arguments.id if arguments is not None else ""
