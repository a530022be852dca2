"""Spans as `with` blocks and decorators, for code that no handler sees.

`tracer.run("triage")` is a block: enter it with `with` or `async with`, or put it on a function as a
decorator. A decorated function may be plain, async, a generator or an async generator; each call is a block
of its own. A block records what leaves through it and passes it on unchanged; only entering `llm` may raise,
and only `BudgetExceeded`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tokentrace_core import context
from tokentrace_core.block import Block, Entry, check_facts
from tokentrace_core.call_blocks import LLMBlock, ToolBlock
from tokentrace_core.decorating import append
from tokentrace_core.pricing import to_usd
from tokentrace_core.shield import describe_error, shielded
from tokentrace_core.spans import Run, Status, Step
from tokentrace_core.trace_headers import Origin

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer


_RUN_FACTS = (
    "session",
    "user",
    "input",
    "task_type",
    "agent_version",
    "environment",
    "tags",
    "attributes",
)
#: What looks like an argument of `session` and would become metadata without a word.
_NOT_METADATA = ("session_id", "user_id", "metadata")


class _RunEntry(Entry):
    span: Run | None = None
    output: Any = None
    loop: Any = None


class RunBlock(Block[_RunEntry]):
    """A run: one request to its answer. Inside another run, a nested agent of it."""

    def __init__(self, tracer: Tracer, name: str, facts: dict[str, Any]) -> None:
        check_facts("tracer.run()", facts, _RUN_FACTS)
        super().__init__(tracer)
        self._name = name
        self._facts = facts

    def _new_entry(self) -> _RunEntry:
        return _RunEntry()

    def _open(self, entry: _RunEntry) -> None:
        entry.span = self._recorder.open_run(entry.key, self._name, **self._facts)
        entry.loop = self._recorder.loop_of(entry.key)

    def _close(self, entry: _RunEntry, error: BaseException | None) -> None:
        if error is None:
            self._recorder.close_run(entry.key, output=entry.output)
        else:
            self._recorder.fail(entry.key, error)

    def called_with(self, arguments: Any) -> None:
        self._facts = {"input": arguments, **self._facts}

    def returned(self, value: Any) -> None:
        self._entry.output = value

    def yielded(self, item: Any) -> None:
        entry = self._entry
        entry.output = append(entry.output, item)

    def step(self, name: str | None = None) -> StepBlock:
        """A step of this run, from whichever thread."""
        return StepBlock(self._tracer, name, self.key)

    def llm(self, model: str, **request: Any) -> LLMBlock:
        """A model call of this run; see `Tracer.llm`."""
        return LLMBlock(self._tracer, model, request, self.key)

    def tool(self, name: str, arguments: Any = None, **facts: Any) -> ToolBlock:
        """A tool call of this run; see `Tracer.tool`."""
        return ToolBlock(self._tracer, name, arguments, facts, self.key)

    @property
    def span(self) -> Run | None:
        """The run's record; for a nested agent, of the whole run."""
        return self._entry.span

    @property
    def id(self) -> str | None:
        """The run's id; None if it could not be recorded."""
        return self.span.id if self.span else None

    @property
    def status(self) -> Status | None:
        """How it stands, or how it ended; None if it could not be recorded."""
        return self.span.status if self.span else None

    @property
    def cost_usd(self) -> Decimal:
        """What it has cost so far, in US dollars; of a nested agent, its own part."""
        loop = self._entry.loop
        return to_usd(loop.cost_nano_usd) if loop else Decimal(0)

    @property
    def steps(self) -> int:
        """Steps so far, those of nested agents included; of a nested agent, its own."""
        loop, span = self._entry.loop, self._entry.span
        if loop is None or span is None:
            return 0
        return span.steps if loop.parent is None else int(loop.steps)

    @property
    def budget_pressure(self) -> float:
        """The part used of the limit that is nearest: at 0.7 it is time to wrap up, at 1 nothing is left."""
        return shielded(self._recorder.budget_pressure)(self.key) or 0.0

    def set_output(self, output: Any) -> None:
        """The answer."""
        self._entry.output = output

    def set_user(self, user: str) -> None:
        """For whom the run is, where that is known only now."""
        shielded(self._recorder.describe_run)(self.key, user=user)

    def add_tags(self, *tags: str) -> None:
        """Words to find the run by, besides those it has."""
        shielded(self._recorder.describe_run)(self.key, tags=tags)

    def record_error(self, error: BaseException) -> None:
        """Note an error that the agent survived; the run goes on."""
        errors = self.span.attributes.get("errors", []) if self.span else []
        self.set(errors=[*errors, describe_error(error)])


class ContinuedBlock(RunBlock):
    """What this process does in a run that another one began. Its cost and steps are those of this part."""

    def __init__(self, tracer: Tracer, name: str, facts: dict[str, Any], origin: Origin) -> None:
        super().__init__(tracer, name, facts)
        self._origin = origin

    def _open(self, entry: _RunEntry) -> None:
        entry.span = self._recorder.continue_run(entry.key, self._name, self._origin, **self._facts)
        entry.loop = self._recorder.loop_of(entry.key)


class _StepEntry(Entry):
    span: Step | None = None
    reasoning: str | None = None


class StepBlock(Block[_StepEntry]):
    """One loop iteration: think, act, observe. Calls made inside it belong to it."""

    def __init__(self, tracer: Tracer, name: str | None, parent: Hashable | None = None) -> None:
        super().__init__(tracer, parent)
        self._name = name

    def _new_entry(self) -> _StepEntry:
        return _StepEntry()

    def _open(self, entry: _StepEntry) -> None:
        entry.span = self._recorder.open_step(entry.key, self._name, parent=self._parent)

    def _close(self, entry: _StepEntry, error: BaseException | None) -> None:
        if error is None:
            self._recorder.close_step(entry.key, entry.reasoning)
        else:
            self._recorder.fail(entry.key, error)

    @property
    def span(self) -> Step | None:
        """The step's record."""
        return self._entry.span

    def llm(self, model: str, **request: Any) -> LLMBlock:
        """A model call of this step; see `Tracer.llm`."""
        return LLMBlock(self._tracer, model, request, self.key)

    def tool(self, name: str, arguments: Any = None, **facts: Any) -> ToolBlock:
        """A tool call of this step; see `Tracer.tool`."""
        return ToolBlock(self._tracer, name, arguments, facts, self.key)

    def set_reasoning(self, reasoning: str) -> None:
        """The model's summary of why it does what it does."""
        self._entry.reasoning = reasoning


class SessionBlock(Block[Entry]):
    """A conversation or task thread: runs begun inside it belong to it."""

    def __init__(self, tracer: Tracer, info: context.SessionInfo) -> None:
        for name in _NOT_METADATA:
            if name in info.metadata:
                raise TypeError(
                    f"tracer.session() has no argument {name!r}; the session is its first argument, `id`, whose "
                    "it is `user=`, and all others are its metadata as they are"
                )
        super().__init__(tracer)
        self.info = info

    @property
    def id(self) -> str:
        """The session's id: the one that was given, or a new one."""
        return self.info.id

    def __enter__(self) -> Self:
        context.enter_session(self.info)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.leave_session(self.info)

    def _new_entry(self) -> Entry:
        return Entry()

    def _open(self, entry: Entry) -> None:
        """A session has no span of its own; it is what runs inside it say of themselves."""

    def _close(self, entry: Entry, error: BaseException | None) -> None:
        """Nothing to close."""

    @contextmanager
    def active(self) -> Iterator[None]:
        with self:
            yield
