"""A reply put together from the pieces of its stream, in any of the wire formats that `replies` reads whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokentrace_core.facts import content_of
from tokentrace_core.replies import (
    Reply,
    arguments_of,
    assistant,
    is_langchain,
    langchain_facts,
    mapping,
    mappings,
    plain,
    read_responses,
    text_of,
)
from tokentrace_core.usage import read_usage


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
        data = plain(chunk)
        kind = data.get("type")
        if is_langchain(data):
            self._feed_langchain(data)
        elif data.get("object") == "chat.completion.chunk" or "choices" in data:
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
            {"id": call["id"], "name": call["name"], "arguments": arguments_of(call["arguments"])}
            for call in self._tools.values()
        ]
        return Reply(
            output=assistant("".join(self._text), calls) if self._text or calls else None,
            usage=read_usage(self._convention, self._usage),
            model=self._facts.get("model"),
            provider=self._facts.get("provider"),
            stop_reason=self._facts.get("stop_reason"),
            response_id=self._facts.get("id"),
        )

    def _feed_openai(self, data: Mapping[str, Any]) -> None:
        self._note(model=data.get("model"), id=data.get("id"))
        if isinstance(data.get("usage"), Mapping):
            self._usage = {"service_tier": data.get("service_tier"), **data["usage"]}
        for choice in mappings(data.get("choices"))[:1]:
            self._note(stop_reason=choice.get("finish_reason"))
            delta = choice.get("delta")
            if isinstance(delta, Mapping):
                self._text.append(text_of(delta.get("content")) or "")
                for call in mappings(delta.get("tool_calls")):
                    function = mapping(call.get("function")) or {}
                    self._tool(
                        call.get("index"), call.get("id"), function.get("name"), function.get("arguments")
                    )

    def _feed_responses(self, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "response.output_text.delta":
            self._text.append(text_of(data.get("delta")) or "")
        elif isinstance(data.get("response"), Mapping) and kind in (
            "response.completed",
            "response.incomplete",
            "response.failed",
        ):
            self._whole = read_responses(data["response"])

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
                self._text.append(text_of(delta.get("text")) or "")
            elif delta.get("type") == "input_json_delta":
                self._tool(data.get("index"), None, None, delta.get("partial_json"))

    def _feed_langchain(self, data: Mapping[str, Any]) -> None:
        self._convention = "langchain"
        facts = langchain_facts(data)
        self._note(**{"id" if name == "response_id" else name: fact for name, fact in facts.items()})
        self._text.append(text_of(content_of(data.get("content"))) or "")
        for call in mappings(data.get("tool_call_chunks")):
            self._tool(call.get("index"), call.get("id"), call.get("name"), call.get("args"))
        if (usage := mapping(data.get("usage_metadata"))) is not None:
            # Its pieces add up, as LangChain adds them; but who counts the prompt again tells the sum so far.
            again = self._usage.get("input_tokens") and usage.get("input_tokens")
            self._usage = dict(usage) if again else _sum(self._usage, usage)

    def _tool(self, index: Any, call_id: Any, name: Any, arguments: Any) -> None:
        call = self._tools.setdefault(str(index), {"id": "", "name": "", "arguments": ""})
        call["id"] = call["id"] or text_of(call_id) or ""
        call["name"] = call["name"] or text_of(name) or ""
        call["arguments"] += text_of(arguments) or ""

    def _note(self, **facts: Any) -> None:
        self._facts |= {name: fact for name, fact in facts.items() if isinstance(fact, str)}


def _sum(counts: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two reports as one; what is no count in both is taken from the later."""
    total = dict(counts)
    for name, count in more.items():
        before = total.get(name)
        if isinstance(before, Mapping) and isinstance(count, Mapping):
            total[name] = _sum(before, count)
        elif isinstance(before, int) and isinstance(count, int):
            total[name] = before + count
        elif count is not None:
            total[name] = count
    return total
