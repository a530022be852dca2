"""Reading a provider's own reply: OpenAI (Chat Completions, Responses) and Anthropic, whole or streamed.

For code that calls a provider's client directly. Replies are read by their shape, as objects or as plain
dicts, so no client library is imported. A reply of an unknown shape gives a `Reply` with what could be read,
never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from tokentrace_core.prompts import Message
from tokentrace_core.usage import Usage, read_usage


class Reply(NamedTuple):
    """What a model answered; the fields are those of `Recorder.close_llm`."""

    output: Any = None
    """Its message, in the common form or the framework's own."""
    usage: Usage | None = None
    model: str | None = None
    provider: str | None = None
    stop_reason: str | None = None
    response_id: str | None = None
    cached: bool = False

    def with_facts_of(self, earlier: Reply) -> Reply:
        """This reply, and what only an earlier piece of it told."""
        return self._replace(
            model=self.model or earlier.model,
            stop_reason=self.stop_reason or earlier.stop_reason,
            response_id=self.response_id or earlier.response_id,
        )


def read_reply(reply: Any) -> Reply:
    """Read a whole reply: a client's response object, its dict, or plain text."""
    if isinstance(reply, str):
        return Reply(output={"role": "assistant", "content": reply})
    if isinstance(reply, Reply):
        return reply
    data = _plain(reply)
    for known, read in _SHAPES:
        if known(data):
            return read(data)
    return Reply(model=_text(data.get("model")), response_id=_text(data.get("id")))


class StreamedReply:
    """A reply put together from the chunks of a stream. `feed` each, then read `reply`."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._tools: dict[str, dict[str, str]] = {}
        self._usage: dict[str, Any] = {}
        self._convention = "openai"
        self._facts: dict[str, str] = {}
        self._whole: Reply | None = None

    def feed(self, chunk: Any) -> None:
        """Take in one chunk or event, in any of the known wire formats. Others are passed over."""
        if isinstance(chunk, str):
            self._text.append(chunk)
            return
        data = _plain(chunk)
        kind = data.get("type")
        if data.get("object") == "chat.completion.chunk" or "choices" in data:
            self._feed_openai(data)
        elif isinstance(kind, str) and kind.startswith("response."):
            self._feed_responses(kind, data)
        elif isinstance(kind, str):
            self._feed_anthropic(kind, data)

    @property
    def reply(self) -> Reply:
        """What has arrived so far. Usage is the last that was reported, never a sum over chunks."""
        if self._whole is not None:
            return self._whole
        calls = [
            {"id": call["id"], "name": call["name"], "arguments": read_arguments(call["arguments"])}
            for call in self._tools.values()
        ]
        return Reply(
            output=_assistant("".join(self._text), calls) if self._text or calls else None,
            usage=read_usage(self._convention, self._usage),
            model=self._facts.get("model"),
            stop_reason=self._facts.get("stop_reason"),
            response_id=self._facts.get("id"),
        )

    def _feed_openai(self, data: Mapping[str, Any]) -> None:
        self._note(model=data.get("model"), id=data.get("id"))
        if isinstance(data.get("usage"), Mapping):
            self._usage = dict(data["usage"])
        for choice in _mappings(data.get("choices"))[:1]:
            self._note(stop_reason=choice.get("finish_reason"))
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                self._text.append(_text(delta.get("content")) or "")
                for call in _mappings(delta.get("tool_calls")):
                    function = _mapping(call.get("function")) or {}
                    self._tool(
                        call.get("index"), call.get("id"), function.get("name"), function.get("arguments")
                    )

    def _feed_responses(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "response.output_text.delta":
            self._text.append(_text(data.get("delta")) or "")
        elif isinstance(data.get("response"), Mapping) and kind in (
            "response.completed",
            "response.incomplete",
            "response.failed",
        ):
            self._whole = _read_responses(data["response"])

    def _feed_anthropic(self, kind: str, data: Mapping[str, Any]) -> None:
        message, delta = data.get("message"), data.get("delta")
        usage = data.get("usage")
        if kind == "message_start" and isinstance(message, Mapping):
            self._convention = "anthropic"
            self._note(model=message.get("model"), id=message.get("id"))
            usage = message.get("usage")
        if isinstance(usage, Mapping):
            # message_delta repeats the counters cumulatively, but older ones name only the output.
            self._usage |= {name: count for name, count in usage.items() if count is not None}
        block = data.get("content_block")
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            self._tool(data.get("index"), block.get("id"), block.get("name"), None)
        if isinstance(delta, Mapping):
            self._note(stop_reason=delta.get("stop_reason"))
            if delta.get("type") == "text_delta":
                self._text.append(_text(delta.get("text")) or "")
            elif delta.get("type") == "input_json_delta":
                self._tool(data.get("index"), None, None, delta.get("partial_json"))

    def _tool(self, index: Any, call_id: Any, name: Any, arguments: Any) -> None:
        call = self._tools.setdefault(str(index), {"id": "", "name": "", "arguments": ""})
        call["id"] = call["id"] or _text(call_id) or ""
        call["name"] = call["name"] or _text(name) or ""
        call["arguments"] += _text(arguments) or ""

    def _note(self, **facts: Any) -> None:
        self._facts |= {name: fact for name, fact in facts.items() if isinstance(fact, str)}


def _read_chat(data: Mapping[str, Any]) -> Reply:
    choice = next(iter(_mappings(data.get("choices"))), {})
    message = choice.get("message") if isinstance(choice.get("message"), Mapping) else {}
    calls = []
    for call in _mappings((message or {}).get("tool_calls")):
        function = _mapping(call.get("function")) or {}
        calls.append(
            {
                "id": call.get("id"),
                "name": function.get("name"),
                "arguments": read_arguments(function.get("arguments")),
            }
        )
    return Reply(
        output=_assistant((message or {}).get("content") or "", calls),
        usage=read_usage("openai", _mapping(data.get("usage"))),
        model=_text(data.get("model")),
        stop_reason=_text(choice.get("finish_reason")),
        response_id=_text(data.get("id")),
    )


def _read_responses(data: Mapping[str, Any]) -> Reply:
    texts, calls = [], []
    for item in _mappings(data.get("output")):
        if item.get("type") == "function_call":
            calls.append(
                {
                    "id": item.get("call_id"),
                    "name": item.get("name"),
                    "arguments": read_arguments(item.get("arguments")),
                }
            )
        texts += [_text(part.get("text")) or "" for part in _mappings(item.get("content"))]
    return Reply(
        output=_assistant("".join(texts), calls),
        usage=read_usage("openai", _mapping(data.get("usage"))),
        model=_text(data.get("model")),
        stop_reason=_text(data.get("status")),
        response_id=_text(data.get("id")),
    )


def _read_anthropic(data: Mapping[str, Any]) -> Reply:
    blocks = _mappings(data.get("content"))
    return Reply(
        output=_assistant(
            "".join(_text(block.get("text")) or "" for block in blocks if block.get("type") == "text"),
            [
                {"id": block.get("id"), "name": block.get("name"), "arguments": block.get("input")}
                for block in blocks
                if block.get("type") == "tool_use"
            ],
        ),
        usage=read_usage("anthropic", _mapping(data.get("usage"))),
        model=_text(data.get("model")),
        stop_reason=_text(data.get("stop_reason")),
        response_id=_text(data.get("id")),
    )


_Shape = tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Reply]]
#: Which shape a reply has, and how it is read; the first that fits.
_SHAPES: tuple[_Shape, ...] = (
    (lambda data: isinstance(data.get("choices"), list), _read_chat),
    (lambda data: data.get("object") == "response" or isinstance(data.get("output"), list), _read_responses),
    (lambda data: data.get("type") == "message" and isinstance(data.get("content"), list), _read_anthropic),
)


def _plain(reply: Any) -> Mapping[str, Any]:
    """A client's response object as nested dicts; both clients' objects are pydantic models."""
    if isinstance(reply, Mapping):
        return reply
    dump = getattr(type(reply), "model_dump", None)
    if dump is None:
        return {}
    try:
        data = dump(reply, mode="json", warnings=False)
    except Exception:
        return {}
    return data if isinstance(data, Mapping) else {}


def _assistant(content: str, calls: list[dict[str, Any]]) -> Message:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = calls
    return message


def read_arguments(text: Any) -> Any:
    """Arguments as the JSON they are; as text where the model wrote no valid JSON."""
    if not isinstance(text, str):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: Any) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _mappings(values: Any) -> list[Mapping[str, Any]]:
    if not isinstance(values, Iterable) or isinstance(values, str | Mapping):
        return []
    return [value for value in values if isinstance(value, Mapping)]
