"""OpenAI's Responses API: an answer is a list of output items; a stream tells how each of them grows.

The events of one item are told between its `response.output_item.added` and its `.done`; the first and the last
event of the stream carry the whole response. A stream always ends with the usage.
"""

import json
from dataclasses import replace

from tests.loopback.openai_wire import CREATED
from tests.loopback.stream import Event, pieces, typed_event
from tests.loopback.turns import Json, ToolCall, Turn, TurnUsage


def response(turn: Turn, request: Json, number: int) -> Json:
    body = _head(turn, request, number) | {"output": [_done(item) for item in _items(turn, number)]}
    body |= _outcome(turn)
    return body | {"usage": response_usage(turn.usage)} if turn.report_usage else body


def response_events(turn: Turn, request: Json, number: int) -> list[Event]:
    begun = _head(turn, request, number) | {"output": [], "status": "in_progress"}
    ended = response(turn, request, number)
    told: list[Json] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(_items(turn, number)):
        told += _item_events(item, index)
    told.append({"type": f"response.{ended['status']}", "response": ended})
    return [typed_event(data | {"sequence_number": place}) for place, data in enumerate(told)]


def response_usage_sent(turn: Turn, request: Json) -> TurnUsage | None:
    return replace(turn.usage, cache_write_1h=0) if turn.report_usage else None


def response_usage(usage: TurnUsage) -> Json:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _head(turn: Turn, request: Json, number: int) -> Json:
    return {
        "id": turn.id or f"resp_{number:06d}",
        "object": "response",
        "created_at": CREATED,
        "model": turn.answering_model(request),
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": request.get("temperature"),
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools", []),
        "top_p": request.get("top_p"),
        "usage": None,
    }


def _outcome(turn: Turn) -> Json:
    """There is no finish reason: a response is complete, or it says why it is not."""
    if turn.finish in (None, "completed"):
        return {"status": "completed"}
    return {"status": "incomplete", "incomplete_details": {"reason": turn.finish}}


def _items(turn: Turn, number: int) -> list[Json]:
    """The output items without their status, which is all that a beginning and an ended one differ in."""
    calls = [_function_call(call, number, index) for index, call in enumerate(turn.tool_calls)]
    return [*([_message(turn.text, number)] if turn.text else []), *calls]


def _message(text: str, number: int) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"id": f"msg_{number:06d}", "type": "message", "role": "assistant", "content": content}


def _function_call(call: ToolCall, number: int, index: int) -> Json:
    return {
        "id": f"fc_{number}_{index}",
        "type": "function_call",
        "call_id": call.id or f"call_{number}_{index}",
        "name": call.name,
        "arguments": json.dumps(call.arguments),
    }


def _done(item: Json) -> Json:
    return item | {"status": "completed"}


def _begun(item: Json) -> Json:
    empty: Json = {"content": []} if item["type"] == "message" else {"arguments": ""}
    return item | empty | {"status": "in_progress"}


def _item_events(item: Json, index: int) -> list[Json]:
    growth = _text_events(item) if item["type"] == "message" else _argument_events(item)
    return [
        {"type": "response.output_item.added", "output_index": index, "item": _begun(item)},
        *({"item_id": item["id"], "output_index": index} | event for event in growth),
        {"type": "response.output_item.done", "output_index": index, "item": _done(item)},
    ]


def _text_events(item: Json) -> list[Json]:
    [part] = item["content"]
    events = [
        {"type": "response.content_part.added", "part": part | {"text": ""}},
        *(
            {"type": "response.output_text.delta", "delta": piece, "logprobs": []}
            for piece in pieces(part["text"])
        ),
        {"type": "response.output_text.done", "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", "part": part},
    ]
    return [{"content_index": 0} | event for event in events]


def _argument_events(item: Json) -> list[Json]:
    arguments = item["arguments"]
    return [
        *({"type": "response.function_call_arguments.delta", "delta": piece} for piece in pieces(arguments)),
        {"type": "response.function_call_arguments.done", "name": item["name"], "arguments": arguments},
    ]
