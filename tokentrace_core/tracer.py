"""The tracer: everything wired together, and what users type.

    tracer = Tracer("traces.db", budget=Budget(run_usd=0.25, steps=25))

One tracer is one recorder, one set of rules (budget, redaction, prices) and one file. It is thread-safe and
meant to live as long as the program; making one starts a writer thread and never fails because of the file:
trouble with it is logged and counted, and the agent goes on.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, overload

from tokentrace_core import signals
from tokentrace_core.blocks import RunBlock, SessionBlock, StepBlock
from tokentrace_core.budget import Budget
from tokentrace_core.call_blocks import LLMBlock, ToolBlock
from tokentrace_core.context import SessionInfo, frames_of
from tokentrace_core.ids import Timeline, new_run_id
from tokentrace_core.pricing import PriceBook
from tokentrace_core.propagation import Propagation
from tokentrace_core.recorder import Recorder
from tokentrace_core.redact import Redactor
from tokentrace_core.reserving import ReservedAmount, nano_of
from tokentrace_core.shield import shielded
from tokentrace_core.store.connection import Key, use_key
from tokentrace_core.store.jsonl_writer import check_fits, is_for_lines
from tokentrace_core.store.known_files import Remembering
from tokentrace_core.store.month_watch import MonthWatch
from tokentrace_core.store.process_end import at_process_end
from tokentrace_core.store.retention import Retention
from tokentrace_core.store.shared import open_writer, release_writer
from tokentrace_core.store.trace_file import Durability

log = logging.getLogger("tokentrace.budget")

P = ParamSpec("P")
R = TypeVar("R")
B = TypeVar("B", RunBlock, LLMBlock, ToolBlock)

DEFAULT_PATH = "traces.db"


def default_path() -> Path:
    """`TOKENTRACE_DB`, or ./traces.db."""
    return Path(os.environ.get("TOKENTRACE_DB") or DEFAULT_PATH)


class Tracer(Propagation):
    """Records runs into one SQLite file (or lines into a `.jsonl`) and stops them at their budget.

    `path`: the file; by default `TOKENTRACE_DB` or ./traces.db. `budget`: limits for each run. `project`,
    `environment`: written on every run. `result_chars`: how much of a tool's result is kept. `durability`: "normal"
    survives whatever happens to the process; "full" (each batch is synced to the disk) a power cut, too.
    `retention`: how long what is recorded is kept; without it nothing ever goes. `key`: encrypts the file: a passphrase,
    64 hex digits, or a callable that gives one of these; by default `TOKENTRACE_KEY`.
    `timeline`: where times and ids come from, if not from the world: for simulations.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        budget: Budget | None = None,
        redactor: Redactor | None = None,
        prices: PriceBook | None = None,
        project: str | None = None,
        environment: str | None = None,
        result_chars: int = 2_000,
        durability: Durability = "normal",
        retention: Retention | None = None,
        key: Key | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.path = Path(path) if path is not None else default_path()
        self.recorder = Recorder(
            redactor=redactor,
            prices=prices,
            budget=budget,
            project=project,
            environment=environment,
            result_chars=result_chars,
            timeline=timeline,
        )
        # The price tables take a quarter of a second to load: here, and not in the agent's first call.
        shielded(self.recorder.prices.warm)()
        others = {"retention": retention, "key": key, "durability": durability == "full" or None}
        check_fits(self.path, budget, *(name for name, given in others.items() if given is not None))
        if key is not None:
            use_key(self.path, key)
        self._writer = open_writer(self.path, durability)
        if retention is not None:
            self._writer.keep(retention)
        self.recorder.use_recall(self._writer.recall)
        self.recorder.use_look_up(self._writer.look_up)
        if not is_for_lines(self.path):
            self.recorder.use_ledger(self._writer.ledger)
        self._closed = False
        self._receivers = [
            (signal, _sink(self._writer.put, keyword)) for signal, keyword in signals.CARRIES.items()
        ]
        for signal, receiver in self._receivers:
            signal.connect(receiver, sender=self.recorder)
        if budget is not None and budget.near_last_month is not None:
            self._watch_the_month(project, budget.near_last_month)
        _tracers.add(self)

    def _watch_the_month(self, project: str | None, part: float) -> None:
        def near(reached: float) -> None:
            log.warning("this month's tokens have reached %d %% of last month's", reached * 100)
            signals.emit(
                signals.budget_warning, self.recorder, run=None, scope="near_last_month", share=reached
            )

        def ask(recorder: object, **fact: object) -> None:
            if watch.is_due:
                self._writer.put(watch)

        watch = MonthWatch(project, part, near)
        self._receivers.append((signals.run_ended, ask))
        signals.run_ended.connect(ask, sender=self.recorder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────────

    def session(self, id: str | None = None, *, user: str | None = None, **metadata: Any) -> SessionBlock:  # noqa: A002
        """A conversation or task thread: runs begun inside it belong to it, whichever framework runs them."""
        return SessionBlock(self, SessionInfo(id=id or new_run_id(), user=user, metadata=metadata))

    @overload
    def run(self, name: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def run(
        self,
        name: str | None = None,
        *,
        session: str | None = None,
        user: str | None = None,
        input: Any = None,
        task_type: str | None = None,
        agent_version: str | None = None,
        environment: str | None = None,
        tags: list[str] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> RunBlock: ...

    def run(self, name: Any = None, **facts: Any) -> Any:
        """A request to its answer. As a block, as a decorator `@tracer.run("name")`, or bare `@tracer.run`."""
        if callable(name) or isinstance(name, classmethod):
            return RunBlock(self, _name_of(name), facts)(name)
        return RunBlock(self, name or "run", facts)

    @overload
    def step(self, name: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def step(self, name: str | None = None) -> StepBlock: ...

    def step(self, name: Any = None) -> Any:
        """One loop iteration of the current run; calls inside it belong to it. Also a decorator."""
        if callable(name) or isinstance(name, classmethod):
            return StepBlock(self, _name_of(name))(name)
        return StepBlock(self, name)

    def llm(self, model: str, **request: Any) -> LLMBlock:
        """One request to a model: `messages=`, `system=`, `tools=`, `provider=`, and parameters as sent.

        Entering it may raise `BudgetExceeded`. As a decorator it reads `messages` (or `prompt`) from the
        call's arguments, the reply from the return value, and a streamed reply from what is yielded.
        """
        return LLMBlock(self, model, request)

    @overload
    def tool(self, name: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def tool(
        self, name: str, arguments: Any = None, *, tool_call_id: str | None = None, kind: str = "tool"
    ) -> ToolBlock: ...

    def tool(self, name: Any, arguments: Any = None, **facts: Any) -> Any:
        """One tool or retrieval (`kind="retrieval"`). As a block, a decorator with a name, or bare `@tracer.tool`."""
        if callable(name) or isinstance(name, classmethod):
            return ToolBlock(self, _name_of(name), None, {})(name)
        return ToolBlock(self, name, arguments, facts)

    def carry(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, in the run it is handed over from: for thread pools, which inherit no context.

        `executor.map(tracer.carry(ask), questions)`. asyncio's tasks and `asyncio.to_thread` need no help.
        """
        here = contextvars.copy_context()

        @functools.wraps(function)
        def carried(*args: P.args, **kwargs: P.kwargs) -> R:
            return here.copy().run(function, *args, **kwargs)

        return carried

    # ── what the code runs in ────────────────────────────────────────────────────────────────────────

    def set_user(self, user: str) -> None:
        """Whose run the calling code is part of; also inside a framework's tool."""
        shielded(self.recorder.describe_run)(None, user=user)

    def add_tags(self, *tags: str) -> None:
        """Tag the run that the calling code is part of."""
        shielded(self.recorder.describe_run)(None, tags=tags)

    def set(self, **attributes: Any) -> None:
        """Add facts to the innermost span that the calling code is part of."""
        shielded(self.recorder.note)(None, attributes)

    def current_run(self) -> RunBlock | None:
        """The innermost `run` block (or decorated function) round the calling code."""
        return self._current(RunBlock)

    def current_llm(self) -> LLMBlock | None:
        """The innermost `llm` block round the calling code, to tell it what a decorated function cannot return."""
        return self._current(LLMBlock)

    def current_tool(self) -> ToolBlock | None:
        """The innermost `tool` block round the calling code."""
        return self._current(ToolBlock)

    def _current(self, kind: type[B]) -> B | None:
        blocks = (frame.block for frame in frames_of(self.recorder))
        return next((block for block in blocks if isinstance(block, kind)), None)

    def record_score(self, key: Hashable, name: str, value: float, comment: str | None = None) -> None:
        """Attach an evaluation to the open span behind a block's key."""
        score = self.recorder.make_score(key, name, value, comment)
        if score is not None:
            self._writer.put(score)

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────

    def budget_pressure(self) -> float:
        """The part used of the nearest limit of the run that the calling code is part of; also in a framework's tool.

        0 without a budget, 1 or more when nothing is left.
        """
        return shielded(self.recorder.budget_pressure)(None) or 0.0

    def reserve(
        self,
        estimate_usd: Decimal | float | str,
        *,
        user: str | None = None,
        run: RunBlock | None = None,
    ) -> ReservedAmount:
        """Set money aside for spending that nothing else records: see `ReservedAmount`. Raises `BudgetExceeded`.

        It counts against the limits of `run`, else of the run that the calling code is part of, else against those
        that `user` and the project share. Raises ValueError if the estimate is no amount.
        """
        nano = nano_of("reserve", estimate_usd)
        return ReservedAmount(nano, self.recorder.reserve(nano, run.key if run else None, user))

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def losses(self) -> dict[str, int]:
        """What could not be stored, by reason. Empty when all is well."""
        return self._writer.losses

    def writes_log(self, path: Path) -> None:
        """Its lines name users, so a purge of this tracer's file has to find them."""
        if not is_for_lines(self.path):
            self._writer.put(Remembering("log", path))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was recorded is in the file. False if that took longer than `timeout` seconds."""
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = 2.0) -> bool:
        """Mark runs still open as interrupted, write everything, let go of the file.

        False if that took longer than `timeout` seconds; `losses` then counts what is not in the file.
        """
        if self._closed:
            return True
        self._closed = True
        shielded(self.recorder.close_all)()
        for signal, receiver in self._receivers:
            signal.disconnect(receiver, sender=self.recorder)
        _tracers.discard(self)
        return release_writer(self._writer, timeout)


def _sink(put: Callable[[object], None], keyword: str) -> Callable[..., None]:
    def store(recorder: object, **fact: object) -> None:
        put(fact[keyword])

    return store


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


# ── the default tracer ───────────────────────────────────────────────────────────────────────────────────

_tracers: weakref.WeakSet[Tracer] = weakref.WeakSet()
_default: Tracer | None = None
_default_lock = threading.Lock()


def default_tracer() -> Tracer:
    """The tracer that integrations use when they are given none; made at first use."""
    global _default
    with _default_lock:
        if _default is None or _default._closed:
            _default = Tracer()
        return _default


def _close_all_at_exit() -> None:
    for tracer in list(_tracers):
        shielded(tracer.recorder.close_all)()


at_process_end(_close_all_at_exit)
