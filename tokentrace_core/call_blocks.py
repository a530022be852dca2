"""Blocks for calls: one request to a model, one tool or retrieval."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tokentrace_core.block import Block, Entry, check_facts
from tokentrace_core.known_types import type_name
from tokentrace_core.replies import Reply, read_reply
from tokentrace_core.shield import log, shielded
from tokentrace_core.spans import LLMCall, ToolCall
from tokentrace_core.streamed import is_stream
from tokentrace_core.streamed_replies import StreamedReply
from tokentrace_core.usage import Usage

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

#: How many items of a generator tool are kept as its result.
_KEPT_ITEMS = 100
_TOOL_FACTS = ("tool_call_id", "kind")


@lru_cache(maxsize=128)
def _system_message(text: str) -> dict[str, str]:
    """The same object for the same text, so that a resent prompt is recognised."""
    return {"role": "system", "content": text}


class _LLMEntry(Entry):
    span: LLMCall | None = None
    reply: Any = None
    stream: StreamedReply | None = None

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, Any] = {}


class LLMBlock(Block[_LLMEntry]):
    """One request to a model. Entering it may raise `BudgetExceeded`; then nothing must be sent."""

    takes_streams = True

    def __init__(
        self, tracer: Tracer, model: str, request: dict[str, Any], parent: Hashable | None = None
    ) -> None:
        super().__init__(tracer, parent)
        self._model = model
        self._request = request

    def _new_entry(self) -> _LLMEntry:
        return _LLMEntry()

    def _open(self, entry: _LLMEntry) -> None:
        request = dict(self._request)
        messages = _messages(request.pop("messages", None), request.pop("system", None))
        entry.span = self._recorder.open_llm(
            entry.key,
            parent=self._parent,
            model=self._model,
            provider=request.pop("provider", None),
            tools=request.pop("tools", None),
            step_name=request.pop("step_name", None),
            messages=messages,
            params=request,
        )

    def _close(self, entry: _LLMEntry, error: BaseException | None) -> None:
        reply = _reply_of(entry)
        if error is not None:
            self._recorder.fail(entry.key, error, arrived=reply)
            return
        self._recorder.close_llm(entry.key, **reply._asdict())

    @property
    def span(self) -> LLMCall | None:
        """The call's record."""
        return self._entry.span

    def done(self, reply: Any, *, usage: Usage | None = None, model: str | None = None) -> None:
        """The provider's reply: usage, model, stop reason and text are read from it.

        OpenAI (Chat Completions, Responses, embeddings), Anthropic and LangChain, as the client's object or as
        a dict; plain text is the answer itself, its usage then estimated. A stream has not arrived yet: give
        its pieces to `chunk`. `usage` and `model` say what the reply does not; a decorated function says them
        with `tracer.current_llm().done(None, usage=...)`.
        """
        entry = self._entry
        if is_stream(reply):
            _say_once(
                "a stream was given to call.done; its usage is estimated, feed its pieces to call.chunk"
            )
        elif reply is not None:
            entry.reply = reply
        entry.said |= {name: said for name, said in (("usage", usage), ("model", model)) if said is not None}

    def chunk(self, chunk: Any) -> None:
        """One piece of a streamed reply."""
        entry = self._entry
        shielded(self._recorder.first_token)(entry.key)
        entry.stream = entry.stream or StreamedReply()
        shielded(entry.stream.feed)(chunk)

    def called_with(self, arguments: Any) -> None:
        if not isinstance(arguments, dict):
            return
        sent: dict[str, Any] = {
            name: arguments[name] for name in ("messages", "system", "tools") if name in arguments
        }
        if "messages" not in sent and "prompt" in arguments:
            sent["messages"] = arguments["prompt"]
        self._request = {**sent, **self._request}

    def returned(self, value: Any) -> None:
        # What the function said itself, or was heard of its stream, tells more than the text it returns.
        entry = self._entry
        heard = entry.reply is not None or (entry.stream is not None and isinstance(value, str))
        if not heard:
            self.done(value)

    def yielded(self, item: Any) -> None:
        self.chunk(item)


def _messages(messages: Any, system: Any) -> Sequence[Any]:
    """The prompt as a list. What is none costs its record, never the call, which the budget must be asked about."""
    try:
        listed = _listed(messages)
        first = _system(system)
    except Exception:  # a sequence of the user's own making
        listed, first = None, []
    if listed is None:
        _say_once("messages= is not a list of messages; this prompt is not recorded")
        listed = []
    return [*first, *listed] if first else listed


def _listed(messages: Any) -> list[Any] | None:
    kind = type(messages)
    if messages is None:
        return []
    if issubclass(kind, str | Mapping):
        return [messages]
    # An iterator is not touched: the prompt would be read off under the user's hands.
    return list(messages) if issubclass(kind, Sequence) and not issubclass(kind, bytes | bytearray) else None


def _system(system: Any) -> list[Mapping[str, Any]]:
    if isinstance(system, str):
        return [_system_message(system)] if system else []
    empty = system is None or (isinstance(system, list | tuple) and not system)
    return [] if empty else [{"role": "system", "content": system}]


def _reply_of(entry: _LLMEntry) -> Reply:
    """What was said of the reply, over what can be read in it."""
    if entry.reply is None:
        reply = entry.stream.reply if entry.stream is not None else Reply()
    else:
        reply = read_reply(entry.reply)
        if reply.output is None and reply.usage is None and "usage" not in entry.said:
            kind = type_name(type(entry.reply))
            _say_once(f"this reply was not understood, its usage is estimated: {kind}")
    return reply._replace(**entry.said)


_said: set[str] = set()


def _say_once(what: str) -> None:
    """Tell the user what is lost by how a call is recorded: a loop must not fill the log."""
    if what not in _said:
        _said.add(what)
        log.warning("tokentrace: %s (said once)", what)


class _ToolEntry(Entry):
    span: ToolCall | None = None
    result: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []
        self.ending: dict[str, Any] = {}


class ToolBlock(Block[_ToolEntry]):
    """One tool or retrieval."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        arguments: Any,
        facts: dict[str, Any],
        parent: Hashable | None = None,
    ) -> None:
        check_facts("tracer.tool()", facts, _TOOL_FACTS)
        super().__init__(tracer, parent)
        self._name = name
        self._arguments = arguments
        self._facts = facts

    def _new_entry(self) -> _ToolEntry:
        return _ToolEntry()

    def _open(self, entry: _ToolEntry) -> None:
        entry.span = self._recorder.open_tool(
            entry.key, self._name, parent=self._parent, arguments=self._arguments, **self._facts
        )

    def _close(self, entry: _ToolEntry, error: BaseException | None) -> None:
        if error is not None:
            self._recorder.fail(entry.key, error)
            return
        result = entry.items or None if entry.result is None else entry.result
        self._recorder.close_tool(entry.key, result, **entry.ending)

    @property
    def span(self) -> ToolCall | None:
        """The call's record."""
        return self._entry.span

    def done(
        self,
        result: Any = None,
        *,
        error: str | None = None,
        http_status: int | None = None,
        cost_usd: Decimal | float | str | None = None,
    ) -> None:
        """What it gave back. `cost_usd`: what an external service charged for it."""
        entry = self._entry
        entry.result = result
        entry.ending = {"error": error, "http_status": http_status, "cost_usd": cost_usd}

    def called_with(self, arguments: Any) -> None:
        self._arguments = arguments if self._arguments is None else self._arguments

    def returned(self, value: Any) -> None:
        entry = self._entry
        entry.result = value if entry.result is None else entry.result

    def yielded(self, item: Any) -> None:
        items = self._entry.items
        if len(items) < _KEPT_ITEMS:
            items.append(item)
