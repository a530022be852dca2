"""OpenAI's wire format: chat completions, embeddings, models, errors. (The Responses API: `responses_wire`.)

Pure functions of the turn, the request's body and the request's number; ids come from the number, so that no two
answers of a server share one. `prompt_tokens` includes the cached tokens. A stream tells its usage only when the
request asked with `stream_options.include_usage`, in a last chunk without choices.
"""

import base64
import json
import math
import random
import struct
from dataclasses import replace
from typing import Any

from tests.loopback.stream import Event, pieces
from tests.loopback.turns import Json, ToolCall, Turn, TurnUsage

CREATED = 1_790_000_000
DEFAULT_DIMENSIONS = 16
CHARACTERS_PER_TOKEN = 4

ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "service_unavailable"),
}


def error_body(turn: Turn, number: int) -> Json:
    kind, code = ERROR_TYPES.get(turn.status, ("server_error", None))
    return {"error": {"message": turn.failure, "type": turn.error_type or kind, "param": None, "code": code}}


def request_id(number: int) -> dict[str, str]:
    return {"x-request-id": f"req_{number:06d}"}


def chat_completion(turn: Turn, request: Json, number: int) -> Json:
    message: Json = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.tool_calls:
        message["tool_calls"] = [
            _tool_call(call, number, index, json.dumps(call.arguments))
            for index, call in enumerate(turn.tool_calls)
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(turn)}
    body = _chat_head(turn, request, number, "chat.completion") | {"choices": [choice]}
    return body | {"usage": chat_usage(turn.usage)} if turn.report_usage else body


def chat_completion_events(turn: Turn, request: Json, number: int) -> list[Event]:
    head = _chat_head(turn, request, number, "chat.completion.chunk")
    wanted = chat_usage_sent(turn, request) is not None
    if wanted:
        head["usage"] = None
    chunks = [head | {"choices": [choice]} for choice in _chat_choices(turn, number)]
    if wanted:
        chunks.append(head | {"choices": [], "usage": chat_usage(turn.usage)})
    return [*map(Event, chunks), Event("[DONE]")]


def chat_usage_sent(turn: Turn, request: Json) -> TurnUsage | None:
    """What the client is told of the turn's usage; OpenAI does not tell lifetimes of cache writes."""
    asked = not request.get("stream") or (request.get("stream_options") or {}).get("include_usage")
    return replace(turn.usage, cache_write_1h=0) if asked and turn.report_usage else None


def chat_usage(usage: TurnUsage) -> Json:
    prompt_details = {"cached_tokens": usage.cached, "audio_tokens": 0}
    if usage.cache_write:
        prompt_details["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def finish_reason(turn: Turn) -> str:
    return turn.finish or ("tool_calls" if turn.tool_calls else "stop")


def _chat_head(turn: Turn, request: Json, number: int, kind: str) -> Json:
    return {
        "id": turn.id or f"chatcmpl-{number:06d}",
        "object": kind,
        "created": CREATED,
        "model": turn.answering_model(request),
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def _tool_call(call: ToolCall, number: int, index: int, arguments: str) -> Json:
    return {
        "id": call.id or f"call_{number}_{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def _chat_choices(turn: Turn, number: int) -> list[Json]:
    deltas: list[Json] = [{"role": "assistant", "content": "" if turn.text else None, "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(turn.text)]
    for index, call in enumerate(turn.tool_calls):
        deltas += _tool_call_deltas(call, number, index)
    choices = [_chat_choice(delta, None) for delta in deltas]
    return [*choices, _chat_choice({}, finish_reason(turn))]


def _chat_choice(delta: Json, finish: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def _tool_call_deltas(call: ToolCall, number: int, index: int) -> list[Json]:
    first = {"index": index} | _tool_call(call, number, index, arguments="")
    rest = [
        {"index": index, "function": {"arguments": piece}} for piece in pieces(json.dumps(call.arguments))
    ]
    return [{"tool_calls": [delta]} for delta in (first, *rest)]


def embedding_turn(request: Json) -> Turn:
    """Embeddings are not scripted: their cost follows from the input."""
    tokens = sum(map(_embedding_tokens, embedding_inputs(request)))
    return Turn(usage=TurnUsage(input=tokens, output=0))


def embeddings(turn: Turn, request: Json, number: int) -> Json:
    size = request.get("dimensions") or DEFAULT_DIMENSIONS
    encode = _base64_floats if request.get("encoding_format") == "base64" else list
    vectors = [vector(text, size) for text in embedding_inputs(request)]
    return {
        "object": "list",
        "model": turn.answering_model(request),
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(floats)}
            for index, floats in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": turn.usage.input, "total_tokens": turn.usage.input},
    }


def embedding_inputs(request: Json) -> list[Any]:
    """The texts (or token lists) of the four forms of `input`: text, texts, tokens, lists of tokens."""
    given = request["input"]
    is_one = isinstance(given, str) or (given and isinstance(given[0], int))
    return [given] if is_one else given


def vector(text: Any, size: int) -> list[float]:
    """A unit vector, the same for the same text in every process."""
    draw = random.Random(str(text))
    floats = [draw.gauss(0, 1) for _ in range(size)]
    length = math.hypot(*floats)
    return [x / length for x in floats]


def _embedding_tokens(text: Any) -> int:
    return max(1, len(text) // CHARACTERS_PER_TOKEN) if isinstance(text, str) else len(text)


def _base64_floats(floats: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()


def models(names: tuple[str, ...]) -> Json:
    data = [{"id": name, "object": "model", "created": CREATED, "owned_by": "loopback"} for name in names]
    return {"object": "list", "data": data}
