"""Spans as `with` blocks and decorators, for code that no handler sees.

`tracer.run("triage")` is a block: enter it with `with` or `async with`, or put it on a function as a
decorator. A decorated function may be plain, async, a generator or an async generator; each call is a block
of its own. A block records what leaves through it and passes it on unchanged; only entering `llm` may raise,
and only `BudgetExceeded`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from tokentrace_core import context
from tokentrace_core.decorating import append, decorate
from tokentrace_core.pricing import to_usd
from tokentrace_core.replies import StreamedReply, read_reply
from tokentrace_core.shield import describe_error, shielded
from tokentrace_core.spans import LLMCall, Run, Status, Step, ToolCall

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

P = ParamSpec("P")
R = TypeVar("R")

#: How many items of a generator tool are kept as its result.
_KEPT_ITEMS = 100


@lru_cache(maxsize=128)
def _system_message(text: str) -> dict[str, str]:
    """The same object for the same text, so that a resent prompt is recognised."""
    return {"role": "system", "content": text}


class Block:
    """What all blocks share: entering, leaving, and being a decorator."""

    def __init__(self, tracer: Tracer, parent: Hashable | None = None) -> None:
        self._tracer = tracer
        self._recorder = tracer.recorder
        self._parent = parent
        self._reset()

    def _reset(self) -> None:
        """Be a block that has not begun: each time it does is a span of its own."""
        self.key: Hashable = object()

    def begin(self) -> None:
        """Open the span, for code that cannot use `with`. End it with `end`, on every path."""
        raise NotImplementedError

    def end(self, error: BaseException | None = None) -> None:
        """Close the span; with the error that left it, if one did."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.begin()
        self._token = context.enter(self._recorder, self.key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.leave(self._token)
        self.end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def set(self, **attributes: Any) -> Self:
        """Add facts to the span; they can be filtered by as `attr.*`. Any time before it ends."""
        shielded(self._recorder.note)(self.key, attributes)
        return self

    def score(self, name: str, value: float, comment: str | None = None) -> Self:
        """Attach an evaluation to this span."""
        shielded(self._tracer.record_score)(self.key, name, value, comment)
        return self

    # As a decorator; see `decorating`.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return decorate(self, function)

    def afresh(self) -> Self:
        """A block like this one, for one call of a decorated function."""
        block = copy.copy(self)
        block.key = object()
        return block

    def called_with(self, arguments: dict[str, Any]) -> None:
        """The decorated function was called."""

    def returned(self, value: Any) -> None:
        """The decorated function returned."""

    def yielded(self, item: Any) -> None:
        """The decorated generator gave an item."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be the current block, without beginning or ending."""
        token = context.enter(self._recorder, self.key)
        try:
            yield
        finally:
            context.leave(token)


class RunBlock(Block):
    """A run: one request to its answer. Inside another run, a nested agent of it."""

    def __init__(self, tracer: Tracer, name: str, facts: dict[str, Any]) -> None:
        super().__init__(tracer)
        self._name = name
        self._facts = facts

    def _reset(self) -> None:
        super()._reset()
        self.span: Run | None = None
        """The run's record; for a nested agent, of the whole run."""
        self._output: Any = None
        self._loop: Any = None

    @shielded
    def begin(self) -> None:
        self._reset()
        self.span = self._recorder.open_run(self.key, self._name, **self._facts)
        self._loop = self._recorder.loop_of(self.key)

    @shielded
    def end(self, error: BaseException | None = None) -> None:
        if error is None:
            self._recorder.close_run(self.key, output=self._output)
        else:
            self._recorder.fail(self.key, error)

    def called_with(self, arguments: dict[str, Any]) -> None:
        self._facts = {"input": arguments, **self._facts}

    def returned(self, value: Any) -> None:
        self._output = value

    def yielded(self, item: Any) -> None:
        self._output = append(self._output, item)

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
    def id(self) -> str | None:
        return self.span.id if self.span else None

    @property
    def status(self) -> Status | None:
        return self.span.status if self.span else None

    @property
    def cost_usd(self) -> Decimal:
        """What it has cost so far, in US dollars; of a nested agent, its own part."""
        return to_usd(self._loop.cost_nano_usd) if self._loop else Decimal(0)

    @property
    def steps(self) -> int:
        """Steps so far, those of nested agents included; of a nested agent, its own."""
        if self._loop is None or self.span is None:
            return 0
        return self.span.steps if self._loop.parent is None else int(self._loop.steps)

    def set_output(self, output: Any) -> None:
        """The answer."""
        self._output = output

    def set_user(self, user: str) -> None:
        shielded(self._recorder.describe_run)(self.key, user=user)

    def add_tags(self, *tags: str) -> None:
        shielded(self._recorder.describe_run)(self.key, tags=tags)

    def record_error(self, error: BaseException) -> None:
        """Note an error that the agent survived; the run goes on."""
        errors = self.span.attributes.get("errors", []) if self.span else []
        self.set(errors=[*errors, describe_error(error)])


class StepBlock(Block):
    """One loop iteration: think, act, observe. Calls made inside it belong to it."""

    def __init__(self, tracer: Tracer, name: str | None, parent: Hashable | None = None) -> None:
        super().__init__(tracer, parent)
        self._name = name

    def _reset(self) -> None:
        super()._reset()
        self.span: Step | None = None
        self._reasoning: str | None = None

    @shielded
    def begin(self) -> None:
        self._reset()
        self.span = self._recorder.open_step(self.key, self._name, parent=self._parent)

    @shielded
    def end(self, error: BaseException | None = None) -> None:
        if error is None:
            self._recorder.close_step(self.key, self._reasoning)
        else:
            self._recorder.fail(self.key, error)

    def llm(self, model: str, **request: Any) -> LLMBlock:
        """A model call of this step; see `Tracer.llm`."""
        return LLMBlock(self._tracer, model, request, self.key)

    def tool(self, name: str, arguments: Any = None, **facts: Any) -> ToolBlock:
        """A tool call of this step; see `Tracer.tool`."""
        return ToolBlock(self._tracer, name, arguments, facts, self.key)

    def set_reasoning(self, reasoning: str) -> None:
        """The model's summary of why it does what it does."""
        self._reasoning = reasoning


class LLMBlock(Block):
    """One request to a model. Entering it may raise `BudgetExceeded`; then nothing must be sent."""

    def __init__(
        self, tracer: Tracer, model: str, request: dict[str, Any], parent: Hashable | None = None
    ) -> None:
        super().__init__(tracer, parent)
        self._model = model
        self._request = request

    def _reset(self) -> None:
        super()._reset()
        self.span: LLMCall | None = None
        self._reply: Any = None
        self._stream: StreamedReply | None = None

    @shielded
    def begin(self) -> None:
        self._reset()
        request = dict(self._request)
        messages = request.pop("messages", ())
        if isinstance(messages, str):
            messages = [messages]
        if system := request.pop("system", None):
            first = (
                _system_message(system) if isinstance(system, str) else {"role": "system", "content": system}
            )
            messages = [first, *messages]
        self.span = self._recorder.open_llm(
            self.key,
            parent=self._parent,
            model=self._model,
            provider=request.pop("provider", None),
            tools=request.pop("tools", None),
            step_name=request.pop("step_name", None),
            messages=messages,
            params=request,
        )

    @shielded
    def end(self, error: BaseException | None = None) -> None:
        reply = self._stream.reply if self._reply is None and self._stream else read_reply(self._reply or {})
        if error is not None:
            self._recorder.fail(self.key, error, arrived=reply)
            return
        self._recorder.close_llm(self.key, **reply._asdict())

    def done(self, reply: Any) -> None:
        """The provider's reply: usage, model, stop reason and text are read from it.

        OpenAI (Chat Completions, Responses) and Anthropic, as the client's object or as a dict; plain text
        is the answer itself, its usage then estimated.
        """
        self._reply = reply

    def chunk(self, chunk: Any) -> None:
        """One piece of a streamed reply."""
        shielded(self._recorder.first_token)(self.key)
        self._stream = self._stream or StreamedReply()
        shielded(self._stream.feed)(chunk)

    def called_with(self, arguments: dict[str, Any]) -> None:
        sent: dict[str, Any] = {
            name: arguments[name] for name in ("messages", "system", "tools") if name in arguments
        }
        if "messages" not in sent and "prompt" in arguments:
            sent["messages"] = arguments["prompt"]
        self._request = {**sent, **self._request}

    def returned(self, value: Any) -> None:
        if value is not None:
            self.done(value)

    def yielded(self, item: Any) -> None:
        self.chunk(item)


class ToolBlock(Block):
    """One tool or retrieval."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        arguments: Any,
        facts: dict[str, Any],
        parent: Hashable | None = None,
    ) -> None:
        super().__init__(tracer, parent)
        self._name = name
        self._arguments = arguments
        self._facts = facts

    def _reset(self) -> None:
        super()._reset()
        self.span: ToolCall | None = None
        self._result: Any = None
        self._ending: dict[str, Any] = {}

    @shielded
    def begin(self) -> None:
        self._reset()
        self.span = self._recorder.open_tool(
            self.key, self._name, parent=self._parent, arguments=self._arguments, **self._facts
        )

    @shielded
    def end(self, error: BaseException | None = None) -> None:
        if error is None:
            self._recorder.close_tool(self.key, self._result, **self._ending)
        else:
            self._recorder.fail(self.key, error)

    def done(
        self,
        result: Any = None,
        *,
        error: str | None = None,
        http_status: int | None = None,
        cost_usd: Decimal | float | str | None = None,
    ) -> None:
        """What it gave back. `cost_usd`: what an external service charged for it."""
        self._result = result
        self._ending = {"error": error, "http_status": http_status, "cost_usd": cost_usd}

    def called_with(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments if self._arguments is None else self._arguments

    def returned(self, value: Any) -> None:
        self._result = value if self._result is None else self._result

    def yielded(self, item: Any) -> None:
        kept = self._result or []
        if len(kept) < _KEPT_ITEMS:
            self._result = [*kept, item]


class SessionBlock(Block):
    """A conversation or task thread: runs begun inside it belong to it."""

    def __init__(self, tracer: Tracer, info: context.SessionInfo) -> None:
        super().__init__(tracer)
        self.info = info

    @property
    def id(self) -> str:
        return self.info.id

    def __enter__(self) -> Self:
        self._session = context.enter_session(self.info)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.leave_session(self._session)

    def begin(self) -> None:
        """A session has no span of its own; it is what runs inside it say of themselves."""

    def end(self, error: BaseException | None = None) -> None:
        """Nothing to close."""

    @contextmanager
    def active(self) -> Iterator[None]:
        with self:
            yield
