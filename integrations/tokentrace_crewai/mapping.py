"""CrewAI's events as core values: pure functions, total, one fact each.

Where each figure is was found by running the framework. Nothing here keeps state, and nothing here raises on an event
of another shape: it gives None and the record has a gap there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from tokentrace_core.integration import (
    Reply,
    at,
    content_of,
    current_session,
    read_reply,
    read_usage,
    request_parameters,
)
from tokentrace_core.integration import arguments_of as parsed
from tokentrace_core.integration import run_facts as facts_of_metadata

Message = Mapping[str, Any]

#: CrewAI's agent loop is a flow of this name.
_EXECUTOR = "AgentExecutor"
#: What an agent's steps are called when its task has no name, or it has no task; other frameworks' agents call them so.
_AGENT_STEP = "model"
#: What CrewAI adds to messages for its own use.
_OWN_FIELD = "cache_breakpoint"
#: Where the providers' tool calls have what was asked for: a function of its own, else the call itself.
_FUNCTIONS = ("function", "function_call")
_ARGUMENTS = ("arguments", "input", "args")
_IDS = ("id", "toolUseId")


class CrewAIError(Exception):
    """An error that CrewAI told by its text only."""


# ── runs and their parts ─────────────────────────────────────────────────────────────────────────────────


def run_facts(source: Any, event: Any) -> dict[str, Any]:
    """Name, session, user and input of what was asked for: a crew, a flow or an agent alone."""
    resume = (
        at(source, "pending_feedback") is not None
    )  # a flow that waited for a human, and now has the answer
    facts = facts_of_metadata(_mapping(at(source, "state") if resume else at(event, "inputs")))
    inputs, facts["attributes"] = facts["attributes"], {}  # what the inputs say beside whose run it is
    if facts["session"] is None and current_session() is None:
        facts["session"] = _text(at(source, "flow_id"))
    asked = None if resume else inputs or _asked(source, event)
    return facts | {"framework": "crewai", "name": name_of(event) or "crew", "input": asked, "resume": resume}


def run_of_a_call(event: Any) -> dict[str, Any]:
    """The run that a model call is when it was not made inside any."""
    return {"framework": "crewai", "input": _said_last(at(event, "messages"))}


def name_of(event: Any) -> str | None:
    """A crew's or flow's name, an agent's role, a task's name."""
    named = _text(at(event, "crew_name")) or _text(at(event, "flow_name")) or _text(at(event, "task", "name"))
    role = _text(at(event, "agent_info", "role")) or _text(at(event, "agent", "role"))
    return role.strip() if role else named


def is_agent_loop(event: Any) -> bool:
    return bool(at(event, "flow_name") == _EXECUTOR)


def step_name_of(source: Any, event: Any) -> str | None:
    """What the steps inside are for: a task, if it was given a name, or a method of a flow; in an agent's loop "model"."""
    if is_agent_loop(event):
        return None if at(source, "task", "name") else _AGENT_STEP
    return _text(at(event, "task", "name")) or _text(at(event, "method_name"))


def output_of(event: Any) -> Any:
    """What a crew, a flow or an agent gave."""
    output = at(event, "output")
    output = at(event, "result") if output is None else output
    raw = at(output, "raw")
    return output if raw is None else raw


def _asked(source: Any, event: Any) -> Any:
    """What the agent was told, or what the tasks say."""
    told = _said_last(at(event, "messages")) or at(event, "task_prompt")
    tasks = at(source, "tasks") or [at(event, "task")]
    described = [text for task in tasks if (text := at(task, "description")) is not None]
    return told or (described[0] if len(described) == 1 else described or None)


def _said_last(messages: Any) -> Any:
    last = messages[-1] if isinstance(messages, list) and messages else messages
    return last.get("content") if isinstance(last, Mapping) else last


# ── model calls ──────────────────────────────────────────────────────────────────────────────────────────


def request_of(source: Any, event: Any) -> dict[str, Any]:
    """Model, provider, parameters, tools and messages of a call about to be made."""
    messages = at(event, "messages")
    return {
        "model": _text(at(event, "model")),
        "provider": _text(at(source, "provider")),
        "params": request_parameters({**vars(event), "stop": at(event, "stop_sequences")}),
        "tools": at(event, "tools"),
        "messages": messages if isinstance(messages, list) else [] if messages is None else [messages],
    }


def reply_of(event: Any) -> Reply:
    """A completed call."""
    return Reply(
        output=at(event, "response"),
        usage=read_usage("crewai", _mapping(at(event, "usage"))),
        stop_reason=_text(at(event, "finish_reason")),
        response_id=_text(at(event, "response_id")),
    )


def broken_reply_of(error: BaseException) -> Reply:
    """What there was of the reply to a call that failed: one that could not be read was answered, and is billed."""
    if (whole := at(error, "completion")) is not None:
        return read_reply(whole)
    if isinstance(error, ValidationError):
        told = [found.get("input") for found in error.errors(include_url=False, include_context=False)]
        return Reply(output=next((text for text in told if isinstance(text, str)), ""))
    return Reply(output="") if isinstance(error, msgspec.DecodeError | ValueError) else Reply()


def to_message(message: Any) -> Message:
    """A message that was sent, in the common form; a bare text was said by the user."""
    if not isinstance(message, Mapping):
        return {"role": "user", "content": message}
    common = {name: value for name, value in message.items() if name != _OWN_FIELD}
    common["content"] = content_of(message.get("content")) or ""
    if isinstance(calls := message.get("tool_calls"), list):
        common["tool_calls"] = [_tool_call(call) for call in calls]
    return common


def answer_to_message(answer: Any) -> Message:
    """What a model answered: a text, the tool calls that it asks for, or an object in the form it was asked for."""
    if isinstance(answer, list):
        return {"role": "assistant", "content": "", "tool_calls": [_tool_call(call) for call in answer]}
    return {"role": "assistant", "content": answer}


def _tool_call(call: Any) -> dict[str, Any]:
    """A tool call of any provider. CrewAI writes what lies deep in a message as Python would: quoted."""
    function = _first(call, _FUNCTIONS) or call
    call_id = _first(call, _IDS) or _first(function, _IDS)
    return {
        "id": call_id,
        "name": _first(function, ("name",)),
        "arguments": parsed(_first(function, _ARGUMENTS)),
    }


def _first(thing: Any, names: tuple[str, ...]) -> Any:
    """The first of these fields that says something."""
    return next((_unquoted(value) for name in names if (value := at(thing, name)) is not None), None)


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
    return parsed(at(event, "tool_args"))


def failure_of(event: Any) -> str | None:
    """The failure that a tool reported as its result."""
    failure = at(event, "failure")
    return None if failure is None else str(at(failure, "message") or failure)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────


def error_of(event: Any) -> BaseException | None:
    """What went wrong, if this end is a failure: the exception itself where it is being handled right now."""
    told = at(event, "error")
    if told is None or isinstance(told, BaseException):
        return told
    handled = sys.exc_info()[1]
    return handled if handled is not None and str(handled) in str(told) else CrewAIError(str(told))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
