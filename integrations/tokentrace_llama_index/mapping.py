"""LlamaIndex's payloads as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on
a payload of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import BoundArguments
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.callbacks import EventPayload
from llama_index.core.llms import CustomLLM
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import TransformComponent
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import Workflow
from llama_index_instrumentation.dispatcher import active_instrument_tags

from tokentrace_core import Usage
from tokentrace_core.integration import (
    Reply,
    arguments_of,
    estimate_tokens,
    read_any_usage,
    request_parameters,
)
from tokentrace_core.integration import run_facts as facts_of_metadata

Message = Mapping[str, Any]
Kind = Literal["call", "tool", "retrieval", "embedding", "part"]

#: A span's id is its class and method, and this many characters of a random id.
_RANDOM = len("-00000000-0000-0000-0000-000000000000")
_CALLS = {"chat", "complete", "stream_chat", "stream_complete"}
_CALLS |= {f"a{name}" for name in _CALLS}
_EMBEDDINGS = {"get_query_embedding", "get_text_embedding", "get_text_embedding_batch"}
_EMBEDDINGS |= {f"a{name}" for name in _EMBEDDINGS}
_USES = {"call", "acall", "__call__"}
#: What an agent's loop calls the step in which it asks its model; LangChain's agents call it so.
_AGENT_STEP = "model"


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────────


def method_of(span_id: str | None) -> str:
    """`chat` of `OpenAI.chat-…`."""
    return (span_id or "")[:-_RANDOM].rpartition(".")[2]


def kind_of(span_id: str, parent: str | None, instance: Any) -> Kind:
    """What a span is in the record; all but calls and tools are only the way to them."""
    method = method_of(span_id)
    if method == "call_tool" and instance is None:
        return "tool"
    if isinstance(instance, BaseLLM) and method in _CALLS:
        return "part" if _only_passes_on(instance, method) else "call"
    if isinstance(instance, BaseRetriever) and method in ("retrieve", "aretrieve"):
        return "retrieval"
    if isinstance(instance, BaseEmbedding) and method in _EMBEDDINGS:
        return "embedding"
    if isinstance(instance, BaseTool) and method in _USES and method_of(parent) not in {"call_tool", *_USES}:
        return "tool"
    return "part"


def _only_passes_on(client: Any, method: str) -> bool:
    """Whether this method asks another one of the same client, perhaps long after its span: `CustomLLM`'s own do."""
    return (
        getattr(getattr(type(client), method, None), "__qualname__", None) == f"{CustomLLM.__name__}.{method}"
    )


def is_request(span_id: str, parent: str | None, instance: Any) -> bool:
    """Whether a span outside any run is one: not the preparation of a call, and no mere handling of text."""
    method = method_of(span_id)
    if parent is not None or method.startswith("_"):
        return False
    if isinstance(instance, BaseLLM):  # what a stream asks is asked when it is read
        return not method.startswith(("stream", "astream"))
    return isinstance(instance, BaseEmbedding) or not isinstance(instance, TransformComponent)


def is_part_of_agent(parent: str | None) -> bool:
    """Whether a span is a step of the workflow above it."""
    return method_of(parent) == "run"


def name_of(span_id: str, instance: Any) -> str:
    """An agent's own name, else the class, else the function."""
    name = getattr(instance, "name", None) if isinstance(instance, Workflow) else None
    if isinstance(name, str) and name:
        return name
    return span_id[:-_RANDOM] if instance is None else type(instance).__name__


def agent_of_step(span_id: str, arguments: BoundArguments) -> str | None:
    """Which agent of a workflow takes this step."""
    if method_of(span_id) != "run_agent_step":
        return None
    return _text(_at(arguments.arguments.get("ev"), "current_agent_name"))


def step_name(parent: str | None) -> str | None:
    """The name of the step that a call made here opens."""
    return _AGENT_STEP if method_of(parent) == "run_agent_step" else None


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_facts() -> dict[str, Any]:
    """Session, user and attributes of a run, from the tags that hold where it begins."""
    return facts_of_metadata(active_instrument_tags.get(), ("llamaindex.",)) | {"framework": "llama-index"}


def run_of_a_call(client: Any, payload: Mapping[Any, Any]) -> dict[str, Any]:
    """What to say of the run that a call is when it was not made inside any."""
    asked = payload.get(EventPayload.PROMPT)
    if messages := payload.get(EventPayload.MESSAGES):
        asked = to_message(messages[-1])["content"]
    return run_facts() | {"name": type(client).__name__, "input": asked}


def run_input(arguments: BoundArguments) -> Any:
    """What was asked: a workflow's first event, a query, a message."""
    given = arguments.arguments
    event = given.get("start_event")
    if event is not None:
        asked = _at(event, "user_msg") or _last(_at(event, "chat_history")) or _at(event, "_data") or event
    else:
        asked = _last(given.get("messages")) or next(
            (value for value in given.values() if isinstance(value, str | ChatMessage) or _query(value)), None
        )
    return to_message(asked)["content"] if isinstance(asked, ChatMessage) else _query(asked) or asked


def said_last(result: Any, instance: Any = None) -> Any:
    """What a run answered; vectors say nothing."""
    if isinstance(instance, BaseEmbedding):
        return None
    result = _at(result, "result") if hasattr(result, "result") and hasattr(result, "_data") else result
    answer = next(
        (said for name in ("response", "message", "text") if (said := _at(result, name)) is not None), None
    )
    if isinstance(answer, ChatMessage):
        return to_message(answer)["content"]
    return result if answer is None else answer


# ── model calls ──────────────────────────────────────────────────────────────────────────────────────────


def to_message(message: Any) -> Message:
    """A LlamaIndex message (or a prompt's text) in the common form: without ids, which differ in every run."""
    if not isinstance(message, ChatMessage):
        return message if isinstance(message, Mapping) else {"role": "user", "content": message}
    common: dict[str, Any] = {"role": _text(_at(message.role, "value")) or str(message.role)}
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
    model = _text(_at(client, "model")) or _text(told.get("model_name"))
    maker, _, rest = str(told.get("class_name") or "").lower().partition("_")
    return model, maker if rest.endswith("llm") and maker not in ("base", "custom") else None


def request_of(client: Any, payload: Mapping[Any, Any]) -> dict[str, Any]:
    """Model, provider, prompt, parameters and tools of a call about to be made."""
    model, provider = model_of(client, payload)
    messages, prompt = payload.get(EventPayload.MESSAGES), payload.get(EventPayload.PROMPT)
    beside = {name: _at(client, name) for name in ("temperature", "max_tokens")}
    sent = {**(_at(client, "additional_kwargs") or {}), **(payload.get(EventPayload.ADDITIONAL_KWARGS) or {})}
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
    raw = _at(response, "raw")
    raw = _at(raw, "response") or raw  # the last event of the Responses API holds the whole
    message = _at(response, "message")
    if message is None and _at(response, "text") is not None:
        message = {"role": "assistant", "content": _at(response, "text")}
    reason = _at(raw, "choices", 0, "finish_reason") or _at(raw, "stop_reason")
    return Reply(
        output=message,
        usage=read_any_usage(_plain(_at(raw, "usage")), _at(response, "additional_kwargs")),
        model=_text(_at(raw, "model")),
        stop_reason=_text(reason or _at(raw, "delta", "stop_reason") or _at(raw, "status")),
        response_id=_text(_at(raw, "id")),
    )


def reply_so_far(response: Any) -> dict[str, Any]:
    """What one piece of a stream tells. Some clients put the message together as they go, others at its end."""
    reply = reply_of(response)._replace(usage=None)
    message = to_message(reply.output)
    whole = message.get("content") or message.get("tool_calls")
    return {"arrived": reply if whole else reply._replace(output=None), "text": _text(_at(response, "delta"))}


def embedded(chunks: Any) -> Usage:
    """What embedding these texts used, which nobody reports."""
    size = sum(len(str(chunk).encode("utf-8", "replace")) for chunk in chunks or ())
    return Usage(input_uncached_tokens=estimate_tokens(size), source="estimated")


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def tool_of(instance: Any, arguments: BoundArguments) -> dict[str, Any]:
    """Name, arguments and id of a tool about to be used."""
    event = arguments.arguments.get("ev")
    if event is not None:
        name, given = _at(event, "tool_name"), _at(event, "tool_kwargs")
    else:
        name, given = _at(instance, "metadata", "name"), dict(arguments.kwargs) or list(arguments.args)
    return {"name": name or "tool", "arguments": given, "tool_call_id": _text(_at(event, "tool_id"))}


def tool_result(result: Any) -> tuple[Any, str | None, BaseException | None]:
    """What a tool gave; its error, if it failed; and what it raised."""
    output = _at(result, "tool_output") or result
    content = _at(output, "content")
    content = output if content is None else content
    failed = _at(output, "is_error") is True
    error = _at(output, "exception")
    return content, str(content) if failed else None, error if isinstance(error, BaseException) else None


def query_of(arguments: BoundArguments) -> dict[str, Any]:
    """What a retriever is asked."""
    asked = next(iter(arguments.arguments.values()), None)
    return {"query": _query(asked) or asked}


def found(nodes: Any) -> Any:
    """Retrieved nodes as their texts, sources and scores."""
    if not isinstance(nodes, list):
        return nodes
    return [
        {"content": _at(one, "text"), "metadata": _at(one, "metadata"), "score": _at(one, "score")}
        for one in nodes
    ]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def _at(thing: Any, *path: str | int) -> Any:
    """What lies at a path of attributes, keys and places; None if there is nothing."""
    for name in path:
        try:
            if isinstance(name, int) or isinstance(thing, Mapping):
                thing = thing[name]
            else:
                thing = getattr(thing, name, None)
        except Exception:
            return None
    return thing


def _plain(usage: Any) -> Any:
    dump = getattr(usage, "model_dump", None)
    return dump() if callable(dump) else usage


def _query(value: Any) -> str | None:
    return _text(_at(value, "query_str"))


def _last(values: Any) -> Any:
    return values[-1] if isinstance(values, list) and values else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
