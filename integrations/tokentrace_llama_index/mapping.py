"""LlamaIndex's payloads as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on
a payload of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import BoundArguments
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.callbacks import EventPayload
from llama_index_instrumentation.dispatcher import active_instrument_tags

from tokentrace_core import BudgetExceeded, Usage
from tokentrace_core.integration import (
    Reply,
    arguments_of,
    at,
    estimate_tokens,
    read_any_usage,
    request_parameters,
    run_facts,
)
from tokentrace_llama_index.span import Span

try:
    from workflows.runtime.types.results import WaitingForEvent
except ImportError:  # before workflows 2.9 a step that waits for a human stays where it is
    WaitingForEvent = ()  # type: ignore[assignment,misc]  # nothing is an instance of it

Message = Mapping[str, Any]


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_of(span: Span, asked: Any) -> dict[str, Any]:
    """Name, input, session, user and attributes of a run that begins here, from the tags that hold here."""
    facts = run_facts(active_instrument_tags.get(), ("llamaindex.",))
    return facts | {"framework": "llama-index", "name": span.name, "input": asked}


def asked(arguments: BoundArguments) -> Any:
    """What was asked: a workflow's first event, a query, a message."""
    given = arguments.arguments
    event = given.get("start_event")
    if event is not None:
        said = at(event, "user_msg") or _last(at(event, "chat_history")) or at(event, "_data") or event
    else:
        said = _last(given.get("messages")) or next(
            (value for value in given.values() if isinstance(value, str | ChatMessage) or _query(value)), None
        )
    return to_message(said)["content"] if isinstance(said, ChatMessage) else _query(said) or said


def said_last(result: Any, instance: Any = None) -> Any:
    """What a run answered; vectors say nothing."""
    if isinstance(instance, BaseEmbedding):
        return None
    result = at(result, "result") if hasattr(result, "result") and hasattr(result, "_data") else result
    answer = next(
        (said for name in ("response", "message", "text") if (said := at(result, name)) is not None), None
    )
    if isinstance(answer, ChatMessage):
        return to_message(answer)["content"]
    return result if answer is None else answer


# ── waiting for a human ──────────────────────────────────────────────────────────────────────────────────


def questions_of(span: Span, result: Any, error: BaseException | None) -> list[Any] | None:
    """What this stopped to ask a human; None if it did not.

    LlamaIndex leaves the tool by an error that has the question, and the agent's call of the tool empty.
    """
    if isinstance(error, WaitingForEvent):
        event = at(error, "add", "waiter_event")
        return [at(event, "prefix") or at(event, "_data")]
    left_empty = span.kind == "tool" and span.method == "call_tool" and result is None and error is None
    return [] if left_empty else None


def is_resume(arguments: BoundArguments) -> bool:
    """Whether this request goes on with the context of one that stopped: nothing starts it."""
    return arguments.arguments.get("start_event", arguments) is None


# ── model calls ──────────────────────────────────────────────────────────────────────────────────────────


def to_message(message: Any) -> Message:
    """A LlamaIndex message (or a prompt's text) in the common form: without ids, which differ in every run."""
    if not isinstance(message, ChatMessage):
        return message if isinstance(message, Mapping) else {"role": "user", "content": message}
    common: dict[str, Any] = {"role": _text(at(message.role, "value")) or str(message.role)}
    texts = [block.text for block in message.blocks if isinstance(block, TextBlock)]
    others = [block for block in message.blocks if not isinstance(block, TextBlock | ToolCallBlock)]
    common["content"] = [*texts, *others] if others else "".join(texts)
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if calls:
        common["tool_calls"] = [
            {"id": call.tool_call_id, "name": call.tool_name, "arguments": arguments_of(call.tool_kwargs)}
            for call in calls
        ]
    for field in ("tool_call_id", "name"):
        if value := message.additional_kwargs.get(field):
            common[field] = value
    return common


def model_of(client: Any, payload: Mapping[Any, Any]) -> tuple[str | None, str | None]:
    """The model, and the provider, of a request."""
    told = payload.get(EventPayload.SERIALIZED) or {}
    model = _text(at(client, "model")) or _text(told.get("model_name"))
    maker, _, rest = str(told.get("class_name") or "").lower().partition("_")
    return model, maker if rest.endswith("llm") and maker not in ("base", "custom") else None


def request_of(client: Any, payload: Mapping[Any, Any]) -> dict[str, Any]:
    """Model, provider, prompt, parameters and tools of a call about to be made."""
    model, provider = model_of(client, payload)
    messages, prompt = payload.get(EventPayload.MESSAGES), payload.get(EventPayload.PROMPT)
    beside = {name: at(client, name) for name in ("temperature", "max_tokens")}
    sent = {**(at(client, "additional_kwargs") or {}), **(payload.get(EventPayload.ADDITIONAL_KWARGS) or {})}
    return {
        "model": model,
        "provider": provider,
        "kind": "chat" if prompt is None else "completion",
        "messages": [prompt] if prompt is not None else list(messages or ()),
        "params": request_parameters(beside) | request_parameters(sent),
        "tools": sent.get("tools") or None,
    }


def reply_of(response: Any) -> Reply:
    """Read an answer, or as much of it as has arrived; whatever is missing stays None."""
    raw = at(response, "raw")
    raw = at(raw, "response") or raw  # the last event of the Responses API holds the whole
    message = at(response, "message")
    if message is None and at(response, "text") is not None:
        message = {"role": "assistant", "content": at(response, "text")}
    reason = at(raw, "choices", 0, "finish_reason") or at(raw, "stop_reason")
    return Reply(
        output=message,
        usage=read_any_usage(
            _plain(at(raw, "usage")),
            _plain(at(raw, "usage_metadata")),
            raw,
            at(response, "additional_kwargs"),
        ),
        model=_text(at(raw, "model")),
        stop_reason=_text(reason or at(raw, "delta", "stop_reason") or at(raw, "status")),
        response_id=_text(at(raw, "id")),
    )


def reply_so_far(response: Any) -> dict[str, Any]:
    """What one piece of a stream tells. Some clients put the message together as they go, others at its end."""
    reply = reply_of(response)._replace(usage=None)
    message = to_message(reply.output)
    whole = message.get("content") or message.get("tool_calls")
    return {"arrived": reply if whole else reply._replace(output=None), "text": _text(at(response, "delta"))}


def embedded(chunks: Any) -> Usage:
    """What embedding these texts used, which nobody reports."""
    size = sum(len(str(chunk).encode("utf-8", "replace")) for chunk in chunks or ())
    return Usage(input_uncached_tokens=estimate_tokens(size), source="estimated")


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def tool_of(span: Span) -> dict[str, Any]:
    """What a tool, or a retriever, is about to be used for."""
    given, event = span.arguments, span.arguments.arguments.get("ev")
    name, arguments = at(span.instance, "metadata", "name"), dict(given.kwargs) or list(given.args)
    if span.kind == "retrieval":
        query = next(iter(given.arguments.values()), None)
        name, arguments = span.name, {"query": _query(query) or query}
    elif event is not None:
        name, arguments = at(event, "tool_name"), at(event, "tool_kwargs")
    return {
        "name": name or "tool",
        "kind": span.kind,
        "parent": span.parent_id,
        "arguments": arguments,
        "tool_call_id": _text(at(event, "tool_id")),
    }


def tool_result(span: Span, result: Any) -> tuple[Any, str | BudgetExceeded | None]:
    """What a tool gave, or a retriever found; and what it told the model of its failure, or the stop that this is."""
    if span.kind == "retrieval":
        return _found(result), None
    output = at(result, "tool_output") or result
    content = at(output, "content")
    content = output if content is None else content
    if at(output, "is_error") is not True:
        return content, None
    error = at(output, "exception")
    return content, error if isinstance(error, BudgetExceeded) else str(content)


def _found(nodes: Any) -> Any:
    """Retrieved nodes as their texts, sources and scores."""
    if not isinstance(nodes, list):
        return nodes
    return [
        {"content": at(one, "text"), "metadata": at(one, "metadata"), "score": at(one, "score")}
        for one in nodes
    ]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def _plain(usage: Any) -> Any:
    dump = getattr(usage, "model_dump", None)
    return dump() if callable(dump) else usage


def _query(value: Any) -> str | None:
    return _text(at(value, "query_str"))


def _last(values: Any) -> Any:
    return values[-1] if isinstance(values, list) and values else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
