"""LangChain's payloads as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on
a payload of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from tokentrace_core import Usage
from tokentrace_core.usage import read_usage

Message = Mapping[str, Any]

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_SESSION_KEYS = ("session_id", "thread_id", "conversation_id")
_RUN_FACTS = ("task_type", "agent_version", "environment")
#: Metadata that the frameworks add themselves; the rest is the user's and becomes attributes.
_INTERNAL = ("ls_", "lc_", "langgraph_", "checkpoint", "__", "assistant_id", "graph_id", "run_id", "task_id")
_PARAMS = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stream",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "tool_choice",
)
#: Blocks of an assistant's content that repeat its tool calls.
_CALL_BLOCKS = frozenset({"tool_use", "function_call", "tool_call", "tool_call_chunk", "input_json_delta"})


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────


def to_message(message: Any) -> Message:
    """A LangChain message (or a prompt's text) in the common form: without ids, which differ in every run."""
    if not isinstance(message, BaseMessage):
        return message if isinstance(message, Mapping) else {"role": "user", "content": message}
    common: dict[str, Any] = {
        "role": _ROLES.get(message.type, message.type),
        "content": _content(message.content),
    }
    calls = getattr(message, "tool_calls", None)
    if calls:
        common["tool_calls"] = [
            {"id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")} for call in calls
        ]
    for field in ("tool_call_id", "name"):
        if value := getattr(message, field, None):
            common[field] = value
    if getattr(message, "status", None) == "error":
        common["status"] = "error"
    return common


def _content(content: Any) -> Any:
    """Text blocks joined, so that a streamed reply reads like a whole one; other blocks are kept."""
    if not isinstance(content, list):
        return content
    kept = [
        block for block in content if not (isinstance(block, Mapping) and block.get("type") in _CALL_BLOCKS)
    ]
    texts = [_block_text(block) for block in kept]
    return "".join(text for text in texts if text is not None) if None not in texts else kept


def _block_text(block: Any) -> str | None:
    if isinstance(block, str):
        return block
    if isinstance(block, Mapping) and block.get("type") in ("text", "text_delta"):
        text = block.get("text")
        return text if isinstance(text, str) else None
    return None


# ── a model's reply ──────────────────────────────────────────────────────────────────────────────────────


class Reply(NamedTuple):
    """What a finished (or broken off) model call gave."""

    output: Any = None
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    stop_reason: str | None = None
    response_id: str | None = None
    cached: bool = False


def reply_of(response: Any) -> Reply:
    """Read the first generation of a result; whatever is missing stays None."""
    generation = _first_generation(response)
    if generation is None:
        return Reply()
    message = getattr(generation, "message", None)
    if message is None:
        usage = read_usage("openai", _token_usage(response.llm_output))
        return Reply(output={"role": "assistant", "content": generation.text}, usage=usage)
    facts = message.response_metadata or {}
    reported = getattr(message, "usage_metadata", None)
    return Reply(
        output=message,
        usage=read_usage("langchain", reported)
        or _raw_usage(facts)
        or read_usage("openai", _token_usage(response.llm_output)),
        model=_text(facts.get("model_name") or facts.get("model")),
        provider=_text(facts.get("model_provider")),
        stop_reason=_text(facts.get("finish_reason") or facts.get("stop_reason") or facts.get("status")),
        response_id=_text(facts.get("id")),
        # LangChain marks a hit in its own cache only by this.
        cached=isinstance(reported, Mapping) and reported.get("total_cost") == 0 and not response.llm_output,
    )


def broken_reply_of(response: Any) -> Reply:
    """Read what had arrived of a reply that ended in an error: LangChain puts an empty message for nothing."""
    reply = reply_of(response)
    output = reply.output
    arrived = getattr(output, "content", None) or getattr(output, "tool_calls", None)
    return reply if arrived else reply._replace(output=None)


def usage_of_piece(chunk: Any) -> Usage | None:
    """What one piece of a stream reports; most report nothing."""
    return read_usage("langchain", getattr(getattr(chunk, "message", None), "usage_metadata", None))


def _first_generation(response: Any) -> Any:
    if not isinstance(response, LLMResult) or not response.generations or not response.generations[0]:
        return None
    return response.generations[0][0]


def _raw_usage(facts: Mapping[str, Any]) -> Usage | None:
    """The provider's own report: beside the message, or in the body of a reply that could not be parsed."""
    sources = (facts.get("token_usage"), facts.get("usage"), _usage_in(facts.get("body")))
    read = (read_usage(_convention(source), source) for source in sources if isinstance(source, Mapping))
    return next((usage for usage in read if usage is not None), None)


def _convention(usage: Mapping[str, Any]) -> str:
    """Only Anthropic names its cache counters beside the input."""
    return "anthropic" if "cache_read_input_tokens" in usage else "openai"


def _usage_in(body: Any) -> Any:
    return body.get("usage") if isinstance(body, Mapping) else None


def _token_usage(llm_output: Any) -> Mapping[str, Any] | None:
    found = (
        llm_output.get("token_usage") or llm_output.get("usage") if isinstance(llm_output, Mapping) else None
    )
    return found if isinstance(found, Mapping) else None


# ── a model's request ────────────────────────────────────────────────────────────────────────────────────


def request_of(metadata: Mapping[str, Any] | None, invocation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Model, provider, parameters, tools and step name of a call about to be made."""
    metadata, invocation = metadata or {}, invocation or {}
    params = {name: invocation[name] for name in _PARAMS if invocation.get(name) is not None}
    if (temperature := metadata.get("ls_temperature")) is not None:
        params.setdefault("temperature", temperature)
    if (limit := params.pop("max_completion_tokens", None) or metadata.get("ls_max_tokens")) is not None:
        params.setdefault("max_tokens", limit)
    return {
        "model": _text(
            metadata.get("ls_model_name") or invocation.get("model") or invocation.get("model_name")
        ),
        "provider": _text(metadata.get("ls_provider")),
        "params": params,
        "tools": invocation.get("tools") or invocation.get("functions"),
        "step_name": _text(metadata.get("langgraph_node")),
    }


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_facts(metadata: Mapping[str, Any] | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """Session, user, tags and attributes of a run, from the metadata of its root."""
    metadata = metadata or {}
    facts: dict[str, Any] = {name: metadata[name] for name in _RUN_FACTS if metadata.get(name) is not None}
    session = next((metadata[name] for name in _SESSION_KEYS if metadata.get(name) is not None), None)
    user = metadata.get("user_id")
    return facts | {
        "framework": "langchain",
        "session": None if session is None else str(session),
        "user": None if user is None else str(user),
        "tags": [tag for tag in tags or () if not is_internal_tag(tag)],
        "attributes": {
            name: value
            for name, value in metadata.items()
            if not name.startswith(_INTERNAL) and name not in (*_SESSION_KEYS, *_RUN_FACTS, "user_id")
        },
    }


def is_internal_tag(tag: str) -> bool:
    return tag.startswith(("seq:step:", "graph:step:", "map:key:", "retry:attempt:", "langsmith:"))


def is_part_of_agent(tags: Sequence[str] | None) -> bool:
    """Whether this chain is a node of an agent's graph: its parent is then the agent."""
    return any(tag.startswith("graph:step:") for tag in tags or ())


def last_content(messages: Sequence[Any]) -> Any:
    """What the last message of a prompt says."""
    return to_message(messages[-1]).get("content") if messages else None


def run_input(inputs: Any) -> Any:
    """What was asked: of a conversation its last message, else the input as it is. None if it comes later."""
    if _comes_later(inputs):
        return None
    last = _last_message(inputs)
    return inputs if last is None else last.get("content")


def _comes_later(inputs: Any) -> bool:
    """What LangChain says of an input that is a stream itself: `{"input": ""}`, and at the end what it was."""
    return (
        isinstance(inputs, dict)
        and len(inputs) == 1
        and isinstance(inputs.get("input"), str)
        and not inputs["input"]
    )


def run_output(outputs: Any) -> Any:
    """The final answer: of a conversation its last message, else the output as it is."""
    last = _last_message(outputs)
    return outputs if last is None else last.get("content")


def _last_message(state: Any) -> Message | None:
    messages = state.get("messages") if isinstance(state, Mapping) else state
    if isinstance(messages, BaseMessage):
        return to_message(messages)
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if isinstance(last, BaseMessage):
        return to_message(last)
    if isinstance(last, tuple) and len(last) == 2:
        return {"role": last[0], "content": last[1]}
    return last if isinstance(last, Mapping) and "content" in last else None


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


class ToolResult(NamedTuple):
    result: Any
    error: str | None


def tool_result(output: Any) -> ToolResult:
    """What a tool gave; an error that it reported as its result is an error."""
    content = getattr(output, "content", output)
    if getattr(output, "status", None) == "error":
        return ToolResult(content, content if isinstance(content, str) else "the tool reported an error")
    return ToolResult(content, None)


def documents(found: Any) -> Any:
    """Retrieved documents as their texts and sources."""
    if not isinstance(found, Sequence) or isinstance(found, str):
        return found
    return [
        {"content": getattr(document, "page_content", None), "metadata": getattr(document, "metadata", None)}
        for document in found
    ]


# ── LangGraph's control flow, which arrives as exceptions ────────────────────────────────────────────────


def is_control_flow(error: BaseException) -> bool:
    """Whether this is LangGraph steering (an interrupt, a hand-off), by class and not by name."""
    return isinstance(error, _langgraph("errors", "GraphBubbleUp"))


def question_of(error: BaseException) -> Any:
    """What an interrupt asks a human; None if this is no interrupt."""
    if not isinstance(error, _langgraph("errors", "GraphInterrupt")):
        return None
    asked = error.args[0] if error.args else ()
    values = [getattr(one, "value", None) for one in asked] if isinstance(asked, Sequence) else []
    return values[0] if len(values) == 1 else values or True


def is_resume(inputs: Any) -> bool:
    """Whether this request continues a graph that stopped: `Command(resume=...)`, or None."""
    if inputs is None:
        return True
    return isinstance(inputs, _langgraph("types", "Command")) and inputs.resume is not None


def _langgraph(module: str, name: str) -> Any:
    """A LangGraph class, if that is loaded; nothing is an instance of the empty tuple."""
    loaded = sys.modules.get(f"langgraph.{module}")
    return getattr(loaded, name, ()) if loaded else ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
