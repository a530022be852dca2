"""Reading a whole reply: OpenAI (Chat Completions, Responses), Anthropic, LangChain. Streams: `streamed_replies`.

For code that calls a provider's client directly. Replies are read by their shape, as objects or as plain
dicts, so no client library is imported. A reply of an unknown shape gives a `Reply` with what could be read,
its usage above all, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from tokentrace_core.facts import content_of
from tokentrace_core.known_types import type_name
from tokentrace_core.prompts import Message
from tokentrace_core.usage import Usage, read_any_usage, read_usage


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
    data = plain(_parsed(reply))
    for known, read in _SHAPES:
        if known(data):
            return read(data)
    return Reply(
        usage=_usage_anywhere(data),
        model=next((text for name in _MODEL if (text := text_of(data.get(name)))), None),
        response_id=next((text for name in _ID if (text := text_of(data.get(name)))), None),
    )


#: Where replies of other shapes have these: Gemini's on the wire and in Python, Bedrock's, Ollama's.
_USAGE = ("usage", "usageMetadata", "usage_metadata")
_MODEL = ("model", "modelVersion", "model_version")
_ID = ("id", "responseId", "response_id")


def _usage_anywhere(data: Mapping[str, Any]) -> Usage | None:
    usage = read_any_usage(*(data.get(name) for name in _USAGE), data)
    tier = mapping(data.get("serviceTier")) or {}
    return served_at(usage, tier.get("type"))


def served_at(usage: Usage | None, tier: Any) -> Usage | None:
    """The usage with the tier at which a reply says that it was served, if the usage does not say."""
    if usage is None or usage.service_tier is not None or not isinstance(tier, str):
        return usage
    return msgspec.structs.replace(usage, service_tier=tier)


def is_langchain(data: Mapping[str, Any]) -> bool:
    """A LangChain message: also of a model without usage, so told by what it has, not by what that says."""
    return "usage_metadata" in data and "content" in data and "response_metadata" in data


def langchain_facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Model, provider, stop reason and id, from where LangChain's clients put them."""
    facts = mapping(data.get("response_metadata")) or {}
    return {
        "model": text_of(facts.get("model_name")) or text_of(facts.get("model")),
        "provider": text_of(facts.get("model_provider")),
        "stop_reason": text_of(facts.get("finish_reason"))
        or text_of(facts.get("stop_reason"))
        or text_of(facts.get("status")),
        "response_id": text_of(facts.get("id")),
    }


def _read_chat(data: Mapping[str, Any]) -> Reply:
    choice = next(iter(mappings(data.get("choices"))), {})
    message = choice.get("message") if isinstance(choice.get("message"), Mapping) else {}
    calls = []
    for call in mappings((message or {}).get("tool_calls")):
        function = mapping(call.get("function")) or {}
        calls.append(
            {
                "id": call.get("id"),
                "name": function.get("name"),
                "arguments": arguments_of(function.get("arguments")),
            }
        )
    return Reply(
        output=assistant((message or {}).get("content") or "", calls),
        usage=served_at(read_usage("openai", mapping(data.get("usage"))), data.get("service_tier")),
        model=text_of(data.get("model")),
        stop_reason=text_of(choice.get("finish_reason")),
        response_id=text_of(data.get("id")),
    )


def read_responses(data: Mapping[str, Any]) -> Reply:
    """A reply of OpenAI's Responses API."""
    texts, calls = [], []
    for item in mappings(data.get("output")):
        if item.get("type") == "function_call":
            calls.append(
                {
                    "id": item.get("call_id"),
                    "name": item.get("name"),
                    "arguments": arguments_of(item.get("arguments")),
                }
            )
        texts += [text_of(part.get("text")) or "" for part in mappings(item.get("content"))]
    return Reply(
        output=assistant("".join(texts), calls),
        usage=served_at(read_usage("openai", mapping(data.get("usage"))), data.get("service_tier")),
        model=text_of(data.get("model")),
        stop_reason=text_of(data.get("status")),
        response_id=text_of(data.get("id")),
    )


def read_langchain(data: Mapping[str, Any]) -> Reply:
    """A LangChain message; its usage is LangChain's, or else what the provider had said."""
    facts = mapping(data.get("response_metadata")) or {}
    calls = [
        {"id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")}
        for call in mappings(data.get("tool_calls"))
    ]
    return Reply(
        output=assistant(content_of(data.get("content")), calls),
        usage=served_at(
            read_usage("langchain", mapping(data.get("usage_metadata")))
            or read_any_usage(facts.get("token_usage"), facts.get("usage")),
            facts.get("service_tier"),
        ),
        **langchain_facts(data),
    )


def _read_anthropic(data: Mapping[str, Any]) -> Reply:
    blocks = mappings(data.get("content"))
    return Reply(
        output=assistant(
            "".join(text_of(block.get("text")) or "" for block in blocks if block.get("type") == "text"),
            [
                {"id": block.get("id"), "name": block.get("name"), "arguments": block.get("input")}
                for block in blocks
                if block.get("type") == "tool_use"
            ],
        ),
        usage=read_usage("anthropic", mapping(data.get("usage"))),
        model=text_of(data.get("model")),
        stop_reason=text_of(data.get("stop_reason")),
        response_id=text_of(data.get("id")),
    )


_Shape = tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any]], Reply]]
#: Which shape a reply has, and how it is read; the first that fits.
_SHAPES: tuple[_Shape, ...] = (
    (lambda data: isinstance(data.get("choices"), list), _read_chat),
    (lambda data: data.get("object") == "response" or isinstance(data.get("output"), list), read_responses),
    (is_langchain, read_langchain),
    (lambda data: data.get("type") == "message" and isinstance(data.get("content"), list), _read_anthropic),
)


#: What the clients' `with_raw_response` gives: a response whose body they parse on demand, and keep.
_RAW = {
    f"{client}.{place}"
    for client in ("openai", "anthropic")
    for place in ("_legacy_response.LegacyAPIResponse", "_response.APIResponse")
}


def _parsed(reply: Any) -> Any:
    """What is inside a raw response, if it has been read: to read it is for its user alone."""
    if type_name(type(reply)) not in _RAW:
        return reply
    try:
        _ = reply.http_response.content  # raises if it has not been read
        return reply.parse()
    except Exception:
        return reply


def plain(reply: Any) -> Mapping[str, Any]:
    """A client's response object as nested dicts; all clients' objects are pydantic models.

    Without `data`, where an embeddings reply has its vectors.
    """
    if isinstance(reply, Mapping):
        return reply
    dump = getattr(type(reply), "model_dump", None)
    if dump is None:
        return {}
    try:
        data = dump(reply, mode="json", warnings=False, exclude={"data"})
    except Exception:
        return {}
    return data if isinstance(data, Mapping) else {}


def assistant(content: Any, calls: list[dict[str, Any]]) -> Message:
    """The model's message in the common form."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = calls
    return message


def arguments_of(text: Any) -> Any:
    """Arguments as the JSON they are; as text where the model wrote no valid JSON."""
    if not isinstance(text, str):
        return text
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def text_of(value: Any) -> str | None:
    """The value, if it is text."""
    return value if isinstance(value, str) else None


def mapping(value: Any) -> Mapping[str, Any] | None:
    """The value, if it is a mapping."""
    return value if isinstance(value, Mapping) else None


def mappings(values: Any) -> list[Mapping[str, Any]]:
    """Those of the values that are mappings."""
    if not isinstance(values, Iterable) or isinstance(values, str | Mapping):
        return []
    return [value for value in values if isinstance(value, Mapping)]
