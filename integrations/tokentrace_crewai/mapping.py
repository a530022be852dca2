"""CrewAI's events as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on an event
of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

import ast
import heapq
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from tokentrace_core.integration import (
    Reply,
    content_of,
    current_session,
    read_reply,
    read_usage,
    request_parameters,
)
from tokentrace_core.integration import run_facts as facts_of_metadata

Message = Mapping[str, Any]

#: CrewAI's agent loop is a flow of this name.
_EXECUTOR = "AgentExecutor"
#: What CrewAI adds to messages for its own use.
_OWN_FIELDS = ("cache_breakpoint", "cache_control")


class CrewAIError(Exception):
    """An error that CrewAI told by its text only."""


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_facts(source: Any, event: Any) -> dict[str, Any]:
    """Name, session, user and input of what was asked for: a crew, a flow or an agent alone."""
    inputs = getattr(event, "inputs", None)
    facts = facts_of_metadata(inputs if isinstance(inputs, Mapping) else None)
    inputs, facts["attributes"] = facts["attributes"], {}  # what the inputs say beside whose run it is
    if facts["session"] is None and current_session() is None:
        facts["session"] = _text(getattr(source, "flow_id", None))
    name = name_of(source, event) or "crew"
    return facts | {"framework": "crewai", "name": name, "input": _asked(source, event, inputs)}


def run_of_a_call(event: Any) -> dict[str, Any]:
    """The run that a model call is when it was not made inside any."""
    return {"framework": "crewai", "input": _said_last(getattr(event, "messages", None))}


def name_of(source: Any, event: Any) -> str | None:
    """A crew's or flow's name, an agent's role, a task's name."""
    named = (getattr(event, field, None) for field in ("crew_name", "flow_name"))
    return next((name for name in named if _text(name)), None) or role_of(event) or step_name_of(event)


def is_agent_loop(event: Any) -> bool:
    return getattr(event, "flow_name", None) == _EXECUTOR


def role_of(event: Any) -> str | None:
    """The role of the agent that an event is about."""
    agent = getattr(event, "agent", None)
    info = getattr(event, "agent_info", None)
    role = info.get("role") if isinstance(info, Mapping) else getattr(agent, "role", None)
    return role.strip() if isinstance(role, str) else None


def step_name_of(event: Any) -> str | None:
    """What the steps inside are for: a task, if it was given a name, or a method of a flow."""
    return _text(getattr(getattr(event, "task", None), "name", None) or getattr(event, "method_name", None))


def output_of(event: Any) -> Any:
    """What a crew, a flow or an agent gave."""
    output = getattr(event, "output", None)
    output = getattr(event, "result", None) if output is None else output
    raw = getattr(output, "raw", None)
    return output if raw is None else raw


def _asked(source: Any, event: Any, inputs: Any) -> Any:
    """The inputs, or where there are none what the agent was told, or what the tasks say."""
    if inputs:
        return inputs
    if (said := _said_last(getattr(event, "messages", None))) is not None:
        return said
    if (prompt := getattr(event, "task_prompt", None)) is not None:
        return prompt
    tasks = getattr(source, "tasks", None) or [getattr(event, "task", None)]
    described = [task.description for task in tasks if hasattr(task, "description")]
    return described[0] if len(described) == 1 else described or None


def _said_last(messages: Any) -> Any:
    last = messages[-1] if isinstance(messages, list) and messages else messages
    return last.get("content") if isinstance(last, Mapping) else last


# ── model calls ──────────────────────────────────────────────────────────────────────────────────────────


def request_of(source: Any, event: Any) -> dict[str, Any]:
    """Model, provider, parameters, tools and messages of a call about to be made."""
    messages = getattr(event, "messages", None)
    sent = {**vars(event), "stop": getattr(event, "stop_sequences", None)}
    return {
        "model": _text(getattr(event, "model", None)),
        "provider": _text(getattr(source, "provider", None)),
        "params": request_parameters(sent),
        "tools": getattr(event, "tools", None),
        "messages": messages if isinstance(messages, list) else [] if messages is None else [messages],
    }


def reply_of(event: Any) -> Reply:
    """A completed call."""
    usage = getattr(event, "usage", None)
    return Reply(
        output=getattr(event, "response", None),
        usage=read_usage("crewai", usage if isinstance(usage, Mapping) else None),
        stop_reason=_text(getattr(event, "finish_reason", None)),
        response_id=_text(getattr(event, "response_id", None)),
    )


def broken_reply_of(error: BaseException) -> Reply:
    """What there was of the reply to a call that failed: one that could not be read was answered, and is billed."""
    if (whole := getattr(error, "completion", None)) is not None:
        return read_reply(whole)
    if isinstance(error, ValidationError):
        told = [found.get("input") for found in error.errors(include_url=False, include_context=False)]
        return Reply(output=next((text for text in told if isinstance(text, str)), ""))
    return Reply(output="") if isinstance(error, msgspec.DecodeError | ValueError) else Reply()


def to_message(message: Any) -> Message:
    """A message that was sent, in the common form; a bare text was said by the user."""
    if not isinstance(message, Mapping):
        return {"role": "user", "content": message}
    common = {name: value for name, value in message.items() if name not in _OWN_FIELDS}
    common["content"] = content_of(message.get("content")) or ""
    if isinstance(calls := message.get("tool_calls"), list):
        common["tool_calls"] = [_tool_call(call) for call in calls]
    return common


def answer_to_message(answer: Any) -> Message:
    """What a model answered: a text, the tool calls that it asks for, or an object in the form it was asked for."""
    if isinstance(answer, list):
        return {"role": "assistant", "content": "", "tool_calls": [_tool_call(call) for call in answer]}
    if isinstance(answer, Mapping) and "role" in answer:
        return to_message(answer)
    return {"role": "assistant", "content": answer}


def _tool_call(call: Any) -> dict[str, Any]:
    """A tool call of any provider. CrewAI writes what lies deep in a message as Python would: quoted."""
    call = call if isinstance(call, Mapping) else {}
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    arguments = _parsed(_unquoted(function.get("arguments", function.get("input", function.get("args")))))
    return {"id": _unquoted(call.get("id")), "name": _unquoted(function.get("name")), "arguments": arguments}


def _unquoted(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]:
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return value


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def arguments_of(event: Any) -> Any:
    """What a tool is called with; as JSON where CrewAI has it as text."""
    return _parsed(getattr(event, "tool_args", None))


def _parsed(text: Any) -> Any:
    """The JSON that a text is, or what it is if it is none."""
    try:
        return msgspec.json.decode(text) if isinstance(text, str) else text
    except (msgspec.DecodeError, UnicodeError):
        return text


def failure_of(event: Any) -> str | None:
    """The failure that a tool reported as its result."""
    failure = getattr(event, "failure", None)
    return None if failure is None else str(getattr(failure, "message", None) or failure)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────


def error_of(event: Any) -> BaseException | None:
    """What went wrong, if this end is a failure: the exception itself where it is being handled right now."""
    told = getattr(event, "error", None)
    if told is None or isinstance(told, BaseException):
        return told
    handled = sys.exc_info()[1]
    return handled if handled is not None and str(handled) in str(told) else CrewAIError(str(told))


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────


def in_order(events: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Recorded events, each with its source, in the order in which they were emitted, whatever order they come in.

    An event follows the one before it in its context, its parent and its start. Beyond that the sequence decides, which
    CrewAI counts in each context anew.
    """
    by_id = {event.event_id: (source, event) for source, event in events}
    followers: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    for event_id, (_, event) in by_id.items():
        before = {event.previous_event_id, event.parent_event_id, event.started_event_id} & by_id.keys() - {
            event_id
        }
        missing[event_id] = len(before)
        for known in before:
            followers.setdefault(known, []).append(event_id)
    ready = [_rank(by_id[event_id][1]) for event_id, count in missing.items() if not count]
    heapq.heapify(ready)
    ordered = []
    while ready:
        event_id = heapq.heappop(ready)[-1]
        ordered.append(by_id[event_id])
        for follower in followers.get(event_id, ()):
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, _rank(by_id[follower][1]))
    return ordered


def _rank(event: Any) -> tuple[Any, int, str]:
    return event.timestamp, event.emission_sequence or 0, event.event_id


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
