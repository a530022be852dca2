"""Anthropic's wire format: messages, token counts, models, errors.

Pure functions of the turn, the request's body and the request's number. `input_tokens` EXCLUDES what was read from
or written to the cache. A stream tells usage twice: with `message_start`, and again, cumulative, with
`message_delta`, which never says for how long the cache was written.
"""

import json
from dataclasses import replace

from tests.loopback.stream import Event, pieces, typed_event
from tests.loopback.turns import Json, ToolCall, Turn, TurnUsage

CHARACTERS_PER_TOKEN = 4
SIGNATURE = "c2lnbmVk"
_EMPTY: dict[str, Json] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_body(turn: Turn, number: int) -> Json:
    kind = turn.error_type or ERROR_TYPES.get(turn.status, "api_error")
    error = {"type": kind, "message": turn.failure}
    return {"type": "error", "error": error, "request_id": f"req_{number:06d}"}


def request_id(number: int) -> dict[str, str]:
    return {"request-id": f"req_{number:06d}"}


def message(turn: Turn, request: Json, number: int) -> Json:
    body = _head(turn, request, number) | {
        "content": _blocks(turn, number),
        "stop_reason": stop_reason(turn),
    }
    return body | {"usage": message_usage(turn.usage)} if turn.report_usage else body


def message_events(turn: Turn, request: Json, number: int) -> list[Event]:
    begun = _head(turn, request, number) | {"content": [], "stop_reason": None}
    if turn.report_usage:
        begun["usage"] = message_usage(turn.usage) | {"output_tokens": 1}
    told: list[Json] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(_blocks(turn, number)):
        told += [{"index": index} | event for event in _block_events(block)]
    return [*map(typed_event, told), typed_event(_message_delta(turn)), typed_event({"type": "message_stop"})]


def message_usage_sent(turn: Turn, request: Json) -> TurnUsage | None:
    """What the client is told of the turn's usage: of reasoning, only the newer stream tells."""
    if not turn.report_usage:
        return None
    return replace(turn.usage, reasoning=0) if turn.thin_delta and request.get("stream") else turn.usage


def message_usage(usage: TurnUsage) -> Json:
    by_lifetime = {
        "ephemeral_5m_input_tokens": usage.cache_write_5m,
        "ephemeral_1h_input_tokens": usage.cache_write_1h,
    }
    return _cumulative_usage(usage) | {"cache_creation": by_lifetime, "service_tier": "standard"}


def stop_reason(turn: Turn) -> str:
    return turn.finish or ("tool_use" if turn.tool_calls else "end_turn")


def _cumulative_usage(usage: TurnUsage) -> Json:
    counts: Json = {
        "input_tokens": usage.fresh_input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    # Models that do not think leave the details out altogether.
    if usage.reasoning:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return counts


def _head(turn: Turn, request: Json, number: int) -> Json:
    return {
        "id": turn.id or f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": turn.answering_model(request),
        "stop_sequence": None,
    }


def _blocks(turn: Turn, number: int) -> list[Json]:
    thought = (
        [{"type": "thinking", "thinking": turn.thinking, "signature": SIGNATURE}] if turn.thinking else []
    )
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    return [*thought, *text, *(_tool_use(call, number, index) for index, call in enumerate(turn.tool_calls))]


def _tool_use(call: ToolCall, number: int, index: int) -> Json:
    return {
        "type": "tool_use",
        "id": call.id or f"toolu_{number}_{index}",
        "name": call.name,
        "input": call.arguments,
    }


def _block_events(block: Json) -> list[Json]:
    empty: Json = _EMPTY[block["type"]]
    return [
        {"type": "content_block_start", "content_block": block | empty},
        *({"type": "content_block_delta", "delta": delta} for delta in _deltas(block)),
        {"type": "content_block_stop"},
    ]


def _deltas(block: Json) -> list[Json]:
    if block["type"] == "text":
        return [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    if block["type"] == "thinking":
        told: list[Json] = [
            {"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])
        ]
        return [*told, {"type": "signature_delta", "signature": block["signature"]}]
    # The first delta of a tool call's input is empty, as from the real API.
    parts = ["", *pieces(json.dumps(block["input"]))]
    return [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _message_delta(turn: Turn) -> Json:
    event: Json = {
        "type": "message_delta",
        "delta": {"stop_reason": stop_reason(turn), "stop_sequence": None},
    }
    if not turn.report_usage:
        return event
    usage = {"output_tokens": turn.usage.output} if turn.thin_delta else _cumulative_usage(turn.usage)
    return event | {"usage": usage}


def token_count(request: Json) -> Json:
    """The answer of `count_tokens`: an estimate that grows with what is sent."""
    counted = [request.get(part) for part in ("system", "messages", "tools")]
    return {"input_tokens": len(json.dumps(counted)) // CHARACTERS_PER_TOKEN}


def models(names: tuple[str, ...]) -> Json:
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in names
    ]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
