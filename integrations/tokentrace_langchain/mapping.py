"""LangChain's payloads as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on
a payload of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult

from tokentrace_core import Usage
from tokentrace_core.integration import (
    Reply,
    cache_lifetime,
    content_of,
    read_any_usage,
    read_usage,
    request_parameters,
)
from tokentrace_core.integration import run_facts as facts_of_metadata

Message = Mapping[str, Any]

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
#: How the metadata begins that the frameworks add themselves, and the tags.
_INTERNAL = ("ls_", "lc_", "langgraph_", "checkpoint", "__", "assistant_id", "graph_id", "run_id", "task_id")
_INTERNAL_TAGS = (
    "seq:step:",
    "graph:step:",
    "map:key:",
    "branch:",
    "condition:",
    "retry:attempt:",
    "langsmith:",
)


def to_message(message: Any) -> Message:
    """A LangChain message (or a prompt's text) in the common form: without ids, which differ in every run."""
    if not isinstance(message, BaseMessage):
        return message if isinstance(message, Mapping) else {"role": "user", "content": message}
    fields = vars(message)  # of a pydantic model: asking it for a field that it has not costs microseconds
    role = _ROLES.get(message.type, message.type)
    common: dict[str, Any] = {"role": role, "content": content_of(message.content)}
    if calls := fields.get("tool_calls"):
        common["tool_calls"] = [
            {"id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")} for call in calls
        ]
    for field in ("tool_call_id", "name"):
        if value := fields.get(field):
            common[field] = value
    if fields.get("status") == "error":
        common["status"] = "error"
    return common


# ── model calls ──────────────────────────────────────────────────────────────────────────────────────────


def request_of(messages: Sequence[Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Model, provider, parameters, tools and step name of a call about to be made."""
    metadata, invocation = event.get("metadata") or {}, event.get("invocation_params") or {}
    prompts = event.get("batch_size") or 1
    contents = [content for message in messages if type(content := getattr(message, "content", None)) is list]
    beside = {
        "temperature": metadata.get("ls_temperature"),
        "max_tokens": metadata.get("ls_max_tokens"),
        # A streamed reply does not tell the two lifetimes of a cache write apart; the request does.
        "batch_size": prompts if prompts > 1 else None,
        "cache_ttl": cache_lifetime(invocation, invocation.get("tools"), *contents),
    }
    model = metadata.get("ls_model_name") or invocation.get("model") or invocation.get("model_name")
    return {
        "model": _text(model),
        "provider": _text(metadata.get("ls_provider")),
        "params": request_parameters(beside) | request_parameters(invocation),
        "tools": invocation.get("tools") or invocation.get("functions"),
        "step_name": _text(metadata.get("langgraph_node")),
    }


def reply_of(response: Any) -> Reply:
    """Read the first generation of a result; whatever is missing stays None."""
    if not isinstance(response, LLMResult) or not response.generations or not response.generations[0]:
        return Reply()
    generation, raw = response.generations[0][0], response.llm_output or {}
    message = getattr(generation, "message", None)
    if message is None:
        # Of several prompts in one request, all is counted at the first; the others get an empty report.
        counted_elsewhere = raw.get("token_usage") == {}
        usage = Usage() if counted_elsewhere else read_any_usage(raw.get("token_usage"), raw.get("usage"))
        return Reply(output={"role": "assistant", "content": generation.text}, usage=usage)
    facts = message.response_metadata or {}
    body = facts.get("body")  # of a reply that was paid but could not be parsed
    in_body = body.get("usage") if isinstance(body, Mapping) else None
    reported = getattr(message, "usage_metadata", None)
    return Reply(
        output=message,
        usage=read_usage("langchain", reported)
        or read_any_usage(
            facts.get("token_usage"), facts.get("usage"), in_body, raw.get("token_usage"), raw.get("usage")
        ),
        model=_text(facts.get("model_name") or facts.get("model")),
        provider=_text(facts.get("model_provider")),
        stop_reason=_text(facts.get("finish_reason") or facts.get("stop_reason") or facts.get("status")),
        response_id=_text(facts.get("id")),
        # LangChain marks a hit in its own cache only by this.
        cached=isinstance(reported, Mapping) and reported.get("total_cost") == 0 and not raw,
    )


def broken_reply_of(response: Any) -> Reply:
    """Read what had arrived of a reply that ended in an error: LangChain puts an empty message for nothing."""
    reply = reply_of(response)
    arrived = getattr(reply.output, "content", None) or getattr(reply.output, "tool_calls", None)
    return reply if arrived else reply._replace(output=None)


def usage_of_piece(chunk: Any) -> Usage | None:
    """What one piece of a stream reports; most report nothing."""
    return read_usage("langchain", getattr(getattr(chunk, "message", None), "usage_metadata", None))


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_facts(metadata: Mapping[str, Any] | None, tags: Sequence[str] | None) -> dict[str, Any]:
    """Session, user, tags and attributes of a run, from the metadata of its root."""
    own_tags = [tag for tag in tags or () if not tag.startswith(_INTERNAL_TAGS)]
    return facts_of_metadata(metadata, _INTERNAL) | {"framework": "langchain", "tags": own_tags}


def is_part_of_agent(tags: Sequence[str] | None) -> bool:
    """Whether this chain is a node of an agent's graph: its parent is then the agent."""
    return any(tag.startswith("graph:step:") for tag in tags or ())


def run_input(inputs: Any) -> Any:
    """What was asked. None if LangChain does not know it yet: it says `{"input": ""}` of a stream."""
    comes_later = isinstance(inputs, dict) and len(inputs) == 1 and inputs.get("input") == ""
    return None if comes_later else said_last(inputs)


def said_last(state: Any) -> Any:
    """Of a conversation what its last message says, else the state as it is."""
    messages = state.get("messages") if isinstance(state, Mapping) else state
    last = messages[-1] if isinstance(messages, list) and messages else messages
    if isinstance(last, BaseMessage):
        return to_message(last)["content"]
    if isinstance(last, tuple) and len(last) == 2:
        return last[1]
    return last["content"] if isinstance(last, Mapping) and "content" in last else state


def asked_in(messages: Sequence[Any]) -> Any:
    """What the last message of a prompt says."""
    return to_message(messages[-1]).get("content") if messages else None


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def tool_result(output: Any) -> tuple[Any, str | None]:
    """What a tool gave, and its error: one that it reported as its result is an error, too."""
    content = getattr(output, "content", output)
    if getattr(output, "status", None) != "error":
        return content, None
    return content, content if isinstance(content, str) else "the tool reported an error"


def found(documents: Any) -> Any:
    """Retrieved documents as their texts and sources."""
    if not isinstance(documents, list):
        return documents
    return [
        {"content": getattr(one, "page_content", None), "metadata": getattr(one, "metadata", None)}
        for one in documents
    ]


# ── LangGraph's control flow, which arrives as exceptions ────────────────────────────────────────────────


def is_control_flow(error: BaseException) -> bool:
    """Whether this is LangGraph steering (an interrupt, a hand-off), by class and not by name."""
    return isinstance(error, _langgraph("errors", "GraphBubbleUp"))


def questions_of(error: BaseException) -> list[Any] | None:
    """What an interrupt asks a human, all branches that stopped together; None if this is no interrupt."""
    if not isinstance(error, _langgraph("errors", "GraphInterrupt")):
        return None
    asked = error.args[0] if error.args else ()
    return [getattr(one, "value", None) for one in asked] if isinstance(asked, Sequence) else []


def is_resume(inputs: Any) -> bool:
    """Whether this request continues a graph that stopped: `Command(resume=...)`, or None."""
    return inputs is None or (
        isinstance(inputs, _langgraph("types", "Command")) and inputs.resume is not None
    )


def _langgraph(module: str, name: str) -> Any:
    """A LangGraph class, if that is loaded; nothing is an instance of the empty tuple."""
    return getattr(sys.modules.get(f"langgraph.{module}"), name, ())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
