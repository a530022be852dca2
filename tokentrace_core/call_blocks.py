"""Blocks for calls: one request to a model, one tool or retrieval."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokentrace_core.block import Block
from tokentrace_core.replies import Reply, StreamedReply, read_reply
from tokentrace_core.shield import shielded
from tokentrace_core.spans import LLMCall, ToolCall
from tokentrace_core.usage import Usage

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

#: How many items of a generator tool are kept as its result.
_KEPT_ITEMS = 100


@lru_cache(maxsize=128)
def _system_message(text: str) -> dict[str, str]:
    """The same object for the same text, so that a resent prompt is recognised."""
    return {"role": "system", "content": text}


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
        self._said: dict[str, Any] = {}
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
        reply = self._reply_so_far()._replace(**self._said)
        if error is not None:
            self._recorder.fail(self.key, error, arrived=reply)
            return
        self._recorder.close_llm(self.key, **reply._asdict())

    def done(self, reply: Any, *, usage: Usage | None = None, model: str | None = None) -> None:
        """The provider's reply: usage, model, stop reason and text are read from it.

        OpenAI (Chat Completions, Responses) and Anthropic, as the client's object or as a dict; plain text
        is the answer itself, its usage then estimated. `usage` and `model` say what the reply does not; a
        decorated function says them with `tracer.current_llm().done(None, usage=...)`.
        """
        self._reply = self._reply if reply is None else reply
        self._said |= {name: said for name, said in (("usage", usage), ("model", model)) if said is not None}

    def _reply_so_far(self) -> Reply:
        if self._reply is not None:
            return read_reply(self._reply)
        return self._stream.reply if self._stream else Reply()

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
