"""Where a sentence is played: a driver, a scripted model and a trace file, and what must be true of every record.

A sentence reads the record only through `trees()`, `tree()` or `checked()`, and those look at everything that must
hold whatever was asked. One that never looks is an error: see `finish`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from contextvars import copy_context
from typing import Any, TypeVar

import pytest

from tests.conformance.driver import Driver
from tests.conformance.rendering import COUNTERS, rendered
from tests.conformance.work import ScriptedModel, Work
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader, Row

STYLES = ("sync", "async", "stream")
SETTLE_SECONDS = 10

T = TypeVar("T")


class Stage:
    def __init__(
        self,
        driver: Driver,
        tracer: Tracer,
        server: LoopbackServer,
        log: pytest.LogCaptureFixture,
        runner: asyncio.Runner,
    ) -> None:
        self.driver, self.tracer, self.server, self._log, self._runner = driver, tracer, server, log, runner
        self.model = ScriptedModel()
        server.answer_with(self.model)
        self.asked = 0
        """How many requests the user made: each is a run."""
        self.framework: str | None = driver.framework
        """What those runs say they were made with."""
        self._looked = False
        self._readers = ExitStack()

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────

    def expect(self, question: str, *turns: Turn) -> None:
        """The model, asked this, gives these answers."""
        self.model.expect(question, *turns)

    def ask(self, work: Work, style: str = "sync") -> str:
        """The agent's answer, in one of the `STYLES`."""
        self.asked += 1
        if style == "sync":
            return self.driver.ask(work)
        asking = self.driver.ask_async(work) if style == "async" else self.read_stream(work)
        return self.run(asking)

    async def read_stream(self, work: Work) -> str:
        """The whole answer, piece by piece."""
        return "".join([piece async for piece in self.driver.stream(work)])

    def abandon(self, work: Work) -> str:
        """Read the first piece of the answer, and no more."""

        async def read_one() -> str:
            pieces = self.driver.stream(work)
            first = await anext(pieces)
            await pieces.aclose()
            return first

        self.asked += 1
        return self.run(read_one())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """One loop serves all sentences: clients keep connections, which live in the loop they began in."""
        return self._runner.run(coroutine, context=copy_context())

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────

    def tree(self, *, retried: int = 0) -> str:
        """The only run there is, as text."""
        [tree] = self.trees(retried=retried)
        return tree

    def trees(self, *, retried: int = 0) -> list[str]:
        """Every run as text, in the order in which they began."""
        reader = self.checked(retried=retried)
        return [rendered(reader, run["id"]) for run in reversed(reader.runs(limit=1_000))]

    def checked(self, *, retried: int = 0) -> Reader:
        """The record, after looking at what must be true of every one. `retried`: by the clients themselves."""
        reader = self.read()
        runs = reader.runs(limit=1_000)
        calls = [call for run in runs for call in reader.llm_calls(run["id"])]
        assert self.tracer.recorder.open_parts == 0, "the recorder still holds parts of runs that are over"
        assert _still_open(reader) == [], "spans that nobody ended"
        assert len(runs) == self.asked, "one root per request"
        assert {run["framework"] for run in runs} == {self.framework}
        self._same_calls(calls, retried)
        for run in runs:
            _sums_up(run, [call for call in calls if call["run_id"] == run["id"]])
        assert self.faults() == [], "tokentrace says that it failed"
        return reader

    def read(self, *, settled: bool = True) -> Reader:
        """The record, whatever is in it; `settled`: once all that runs has come to rest."""
        self._looked = True
        self.driver.settle()
        until = time.monotonic() + (SETTLE_SECONDS if settled else 0)
        while self.tracer.recorder.open_parts and time.monotonic() < until:
            self.run(asyncio.sleep(0.01))  # what a framework left in the loop goes on, too
        assert self.tracer.flush(SETTLE_SECONDS)
        return self._readers.enter_context(Reader(self.tracer.path))

    def faults(self) -> list[str]:
        """What tokentrace has logged as its own failures."""
        return [
            record.getMessage()
            for record in self._log.records
            if record.levelno >= logging.ERROR and record.name.split(".")[0].startswith("tokentrace")
        ]

    def finish(self) -> None:
        """After the sentence: nothing stays attached, and somebody must have looked."""
        self.driver.detach()
        self._readers.close()
        assert self._looked, "this sentence never looked at the record"

    def _same_calls(self, calls: list[Row], retried: int) -> None:
        """The server saw these calls and no others, and said the same figures."""
        sent = [call for call in calls if call["status"] != "refused"]
        assert len(sent) == self.server.count - retried, "requests that were sent and calls that were stored"
        answered = [call for call in sent if call["status"] == "success"]
        assert len(answered) == self.server.answered, "requests and calls that were answered"
        told = self.server.reported
        stored = {
            name: sum(call[column] or 0 for call in calls if call["usage_source"] == "reported")
            for name, column in COUNTERS.items()
        }
        assert stored == {
            "input": told.fresh_input,
            "cache_read": told.cached,
            "cache_write_5m": told.cache_write_5m,
            "cache_write_1h": told.cache_write_1h,
            "output": told.output,
            "reasoning": told.reasoning,
        }, "tokens that the server told and tokens that were stored"


def _still_open(reader: Reader) -> list[Row]:
    tables = ("runs", "steps", "llm_calls", "tool_calls")
    unended = "status in ('running', 'waiting') or ended_at is null"
    return [row for table in tables for row in reader.query(f"select * from {table} where {unended}")]


def _sums_up(run: Row, calls: list[Row]) -> None:
    """A run's totals are those of its calls; a refused call is none."""
    sent = [call for call in calls if call["status"] != "refused"]
    assert run["llm_calls"] == len(sent)
    assert run["refused_calls"] == len(calls) - len(sent)
    assert run["cost_nano_usd"] == sum(call["cost_nano_usd"] or 0 for call in calls)
    assert run["output_tokens"] == sum(call["output_tokens"] or 0 for call in sent)
