"""The providers of the month, simulated: what a request uses, by its real text and what the cache still holds.

A message has a quarter as many tokens as its JSON has bytes, and so have the tools, which go first. Then each cache as its
provider documents it. OpenAI's is automatic: a prompt of 1,024 tokens or more reads what it begins with in common with
one of the last ten minutes, in blocks of 128. Anthropic's has to be asked for (`cache_control`): all up to the
mark is written for five minutes, and what was written before is read, again from 1,024 tokens on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tokentrace_core.payload import canonical_json
from tokentrace_core.usage import Usage

_CACHED_FROM = 1_024
_BLOCK = 128
_OPENAI_US = 10 * 60 * 1_000_000
_ANTHROPIC_US = 5 * 60 * 1_000_000

Message = Mapping[str, Any]


class Model(NamedTuple):
    name: str
    provider: str
    answers_as: str
    """The name that is in its replies."""
    tokens_a_second: float
    thinks: float = 0.0
    """Tokens of reasoning per token of the answer."""


MODELS = {
    model.name: model
    for model in (
        Model("gpt-4o", "openai", "gpt-4o-2024-08-06", 90),
        Model("gpt-4o-mini", "openai", "gpt-4o-mini-2024-07-18", 110),
        Model("gpt-4.1-mini", "openai", "gpt-4.1-mini-2025-04-14", 110),
        Model("gpt-5-mini", "openai", "gpt-5-mini-2025-08-07", 120, thinks=1.5),
        Model("claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5-20250929", 70),
        Model("claude-haiku-4-5", "anthropic", "claude-haiku-4-5-20251001", 140),
    )
}


def tokens_of(part: Any) -> int:
    """Tokens of a message, or of the tools of a request."""
    return (len(canonical_json(part).encode()) + 3) // 4


class Answer(NamedTuple):
    """What a model says: a text, tools to call, or both."""

    text: str = ""
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()


class Provider:
    """What the caches of all providers hold, and who may read it."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, bytes], tuple[int, int]] = {}
        """Of each path that a model has in its cache: when it was written, and when it was last used."""
        self._weighed: dict[int, tuple[object, int, bytes]] = {}

    def usage(
        self,
        model: Model,
        messages: Sequence[Message],
        tools: Sequence[Any],
        said: Message,
        at: int,
        *,
        mark: int = 0,
    ) -> Usage:
        """What the request uses. `mark`: how many messages Anthropic was asked to cache."""
        path = self._path(model, messages, tools)
        total = path[-1][1]
        output = tokens_of(said)
        thought = round(output * model.thinks)
        read = written = 0
        if model.provider == "openai":
            read = self._found(path, at, _OPENAI_US) // _BLOCK * _BLOCK
            self._keep(path, at)
        elif mark:
            marked = path[: mark + 1]
            read = self._found(marked, at, _ANTHROPIC_US)
            written = marked[-1][1] - read if marked[-1][1] >= _CACHED_FROM else 0
            self._keep(marked[-1:], at)
        return Usage(
            input_uncached_tokens=total - read - written,
            cache_read_tokens=read,
            cache_write_5m_tokens=written,
            output_tokens=output + thought,
            reasoning_tokens=thought,
        )

    def _path(
        self, model: Model, messages: Sequence[Message], tools: Sequence[Any]
    ) -> list[tuple[tuple[str, bytes], int]]:
        """Every beginning of the prompt, as a key of the cache, and its tokens. The first is the tools alone."""
        digest, total, path = b"", 0, []
        for part in (tools, *messages):
            weight, own = self._weigh(part) if part else (0, b"")
            total += weight
            digest = hashlib.blake2b(digest + own, digest_size=16).digest()
            path.append(((model.name, digest), total))
        return path

    def _weigh(self, part: object) -> tuple[int, bytes]:
        """Tokens and hash of a message; the same object is read once."""
        known = self._weighed.get(id(part))
        if known is None or known[0] is not part:
            text = canonical_json(part).encode()
            known = part, (len(text) + 3) // 4, hashlib.blake2b(text, digest_size=16).digest()
            if len(self._weighed) > 5_000:
                self._weighed.clear()
            self._weighed[id(part)] = known
        return known[1], known[2]

    def _found(self, path: list[tuple[tuple[str, bytes], int]], at: int, lifetime: int) -> int:
        for key, tokens in reversed(path):
            written, used = self._used.get(key, (0, 0))
            if tokens >= _CACHED_FROM and written < at and at - used < lifetime:
                self._used[key] = written, max(used, at)
                return tokens
        return 0

    def _keep(self, path: list[tuple[tuple[str, bytes], int]], at: int) -> None:
        for key, tokens in path:
            if tokens >= _CACHED_FROM:
                written, used = self._used.get(key, (at, at))
                self._used[key] = min(written, at), max(used, at)


def reply_of(model: Model, answer: Answer, usage: Usage, label: str) -> tuple[dict[str, Any], list[str]]:
    """The reply as the provider sends it, and the ids of the tool calls in it. `label`: what is in its ids."""
    shape = _anthropic_reply if model.provider == "anthropic" else _openai_reply
    ids = [
        f"{'toolu' if model.provider == 'anthropic' else 'call'}_{label}_{place}"
        for place in range(len(answer.tools))
    ]
    return shape(model, answer, usage, label, ids), ids


def _openai_reply(model: Model, answer: Answer, usage: Usage, label: str, ids: list[str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tools:
        message["tool_calls"] = [
            {
                "id": key,
                "type": "function",
                "function": {"name": name, "arguments": canonical_json(arguments)},
            }
            for key, (name, arguments) in zip(ids, answer.tools, strict=True)
        ]
    return {
        "id": f"chatcmpl-{label}",
        "object": "chat.completion",
        "model": model.answers_as,
        "choices": [
            {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tools else "stop"}
        ],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        },
    }


def _anthropic_reply(
    model: Model, answer: Answer, usage: Usage, label: str, ids: list[str]
) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
    blocks += [
        {"type": "tool_use", "id": key, "name": name, "input": dict(arguments)}
        for key, (name, arguments) in zip(ids, answer.tools, strict=True)
    ]
    return {
        "id": f"msg_{label}",
        "type": "message",
        "role": "assistant",
        "model": model.answers_as,
        "content": blocks,
        "stop_reason": "tool_use" if answer.tools else "end_turn",
        "usage": {
            "input_tokens": usage.input_uncached_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_write_5m_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": 0,
            },
            "output_tokens": usage.output_tokens,
        },
    }
