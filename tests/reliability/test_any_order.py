"""Whatever happens to the file, in any order: what was announced is in it or counted, to the record."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.reliability.conftest import FULL
from tests.reliability.programs import USED
from tokentrace_core import Tracer, signals
from tokentrace_core.store import trace_file, writer

_FAULTS = ["disk I/O error", "database or disk is full", "attempt to write a readonly database"]


class File(RuleBasedStateMachine):
    """One file and the tracer that writes it. Counting begins anew when the file does."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.db = self.folder / "traces.db"
        self.failures: list[str] = []
        self.other: sqlite3.Connection | None = None
        self.patches = [
            mock.patch.object(writer, "transaction", self.transaction),
            mock.patch.object(writer, "_LOCKED_PATIENCE_S", 0.05),
            mock.patch.object(trace_file, "_LOCKED_S", 0.01),
        ]
        for patch in self.patches:
            patch.start()
        self.emitted: set[tuple[str, str]] = set()
        self.lost_before = 0
        for signal in signals.CARRIES:
            signal.connect(self.hear)
        self.tracer = Tracer(self.db)
        self.open_runs: list[Any] = []

    def hear(self, _: object, **fact: Any) -> None:
        for span in fact.values():
            self.emitted.add((span.table, span.id))

    @contextmanager
    def transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """The writer's, which fails at its end if a fault is due."""
        with trace_file.transaction(connection):
            yield
            if self.failures:
                raise sqlite3.OperationalError(self.failures.pop())

    # ── what an agent does ───────────────────────────────────────────────────────────────────────────

    @rule(calls=st.integers(0, 4), flush=st.booleans())
    def record(self, calls: int, flush: bool) -> None:
        with self.tracer.run("agent") as run:
            for number in range(calls):
                with run.llm("gpt-4o", messages=["hello", str(number)]) as call:
                    call.done("answer", usage=USED)
        if flush:
            assert self.tracer.flush(20)

    @rule()
    def begin_a_run(self) -> None:
        self.open_runs.append(object())
        self.tracer.recorder.open_run(self.open_runs[-1], "long")

    @precondition(lambda self: self.open_runs)
    @rule(flush=st.booleans())
    def end_a_run(self, flush: bool) -> None:
        self.tracer.recorder.close_run(self.open_runs.pop(0))
        if flush:
            assert self.tracer.flush(20)

    # ── what happens to the file ─────────────────────────────────────────────────────────────────────

    @rule(faults=st.lists(st.sampled_from(_FAULTS), min_size=1, max_size=3))
    def fail(self, faults: list[str]) -> None:
        self.failures = list(faults)

    @precondition(lambda self: self.other is None)
    @rule()
    def lock(self) -> None:
        assert self.tracer.flush(20)
        self.other = sqlite3.connect(self.db, timeout=20, check_same_thread=False)
        self.other.execute("begin immediate")

    @precondition(lambda self: self.other is not None)
    @rule()
    def unlock(self) -> None:
        assert self.other is not None
        self.other.close()
        self.other = None

    @rule()
    def rest_as_for_a_fork(self) -> None:
        if self.tracer._writer.rest(5):
            self.tracer._writer.go_on()

    @rule()
    def close_and_open(self) -> None:
        self.settle()
        self.open_runs.clear()
        assert self.tracer.close(20)
        self.lost_before += sum(self.tracer.losses.values())
        self.tracer = Tracer(self.db)

    @rule(beside=st.booleans())
    def delete(self, beside: bool) -> None:
        self.check()
        for end in ("", "-wal", "-shm") if beside else ("",):
            self.db.with_name(self.db.name + end).unlink(missing_ok=True)
        self.begin_to_count()

    @rule()
    def damage_while_nobody_has_it_open(self) -> None:
        self.check()
        if self.tracer._writer.rest(20):
            for end in ("-wal", "-shm"):
                self.db.with_name(self.db.name + end).unlink(missing_ok=True)
            self.db.write_text("these are my notes\n" * 100)
            for kept in self.folder.glob(
                "*.corrupt-*"
            ):  # else a second one in the same second stays in its place
                kept.unlink()
            self.tracer._writer.go_on()
        self.begin_to_count()

    # ── the account ──────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """No trouble any more, and all that can be written is."""
        self.failures = []
        if self.other is not None:
            self.unlock()
        assert self.tracer.flush(20)
        with (
            self.tracer.session("one more, which takes along what was not written before"),
            self.tracer.run("last"),
        ):
            pass
        assert self.tracer.flush(20)

    def check(self) -> None:
        """Announced = ended and stored + not yet ended + lost."""
        self.settle()
        for run in self.open_runs:
            self.tracer.recorder.close_run(run)
        self.open_runs.clear()
        assert self.tracer.flush(20)
        with closing(sqlite3.connect(self.db)) as connection:
            stored = {
                (table, row[0])
                for table in ("sessions", "runs", "steps", "llm_calls")
                for row in connection.execute(
                    f"select id from {table}" + ("" if table == "sessions" else " where status != 'running'")
                )
            }
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            told = connection.execute("select coalesce(sum(records), 0) from losses").fetchone()[0]
        lost = self.lost_before + sum(self.tracer.losses.values())
        assert len(self.emitted - stored) == lost - self.lost_at_beginning
        assert told <= lost

    lost_at_beginning = 0

    def begin_to_count(self) -> None:
        self.emitted.clear()
        self.lost_at_beginning = self.lost_before + sum(self.tracer.losses.values())

    def teardown(self) -> None:
        try:
            self.check()
            assert self.tracer.close(20)
            assert not self.tracer._writer._owed
        finally:
            for signal in signals.CARRIES:
                signal.disconnect(self.hear)
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.folder)


File.TestCase.settings = settings(
    max_examples=400 if os.environ.get(FULL) else 15,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWhateverHappensToAFileEveryRecordIsInItOrCounted = File.TestCase
