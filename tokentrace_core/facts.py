"""What frameworks say beside a call, brought to one form: whose run it is, with which parameters, in which blocks.

Every framework passes these on as it got them from the user or the provider, so the same few spellings turn up
everywhere. They are data here; an integration only says where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Spellings of a session's id, the most deliberate one first.
_SESSION = ("session_id", "thread_id", "conversation_id")
_USER = "user_id"
_COLUMNS = ("task_type", "agent_version", "environment")

#: Request parameters that are kept: they change what a model answers, or what that costs.
_PARAMETERS = (
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "seed",
    "stop",
    "stream",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "service_tier",
    "tool_choice",
    "cache_ttl",
    "batch_size",
)
#: Other spellings of a parameter.
_SAME_AS = {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"}

#: Blocks of an assistant's content that repeat its tool calls.
_CALL_BLOCKS = frozenset({"tool_use", "function_call", "tool_call", "tool_call_chunk", "input_json_delta"})
_TEXT_BLOCKS = frozenset({"text", "text_delta", "output_text"})


def at(thing: Any, *path: str | int) -> Any:
    """What lies at a path of attributes, keys and places; None if there is nothing."""
    for name in path:
        try:
            if isinstance(name, int) or isinstance(thing, Mapping):
                thing = thing[name]
            else:
                thing = getattr(thing, name, None)
        except Exception:
            return None
    return thing


def run_facts(metadata: Mapping[str, Any] | None, internal: tuple[str, ...] = ()) -> dict[str, Any]:
    """Session, user, the columns of a run and its attributes, from the metadata that a user attached to it.

    `internal`: how the names begin that the framework adds itself; all others become attributes.
    """
    metadata = metadata or {}
    known = (*_SESSION, *_COLUMNS, _USER)
    session = next((str(metadata[name]) for name in _SESSION if metadata.get(name) is not None), None)
    user = metadata.get(_USER)
    return {name: metadata[name] for name in _COLUMNS if metadata.get(name) is not None} | {
        "session": session,
        "user": None if user is None else str(user),
        "attributes": {
            name: value
            for name, value in metadata.items()
            if name not in known and not (internal and str(name).startswith(internal))
        },
    }


def request_parameters(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that are kept, under one spelling each."""
    one_spelling = {_SAME_AS.get(name, name): value for name, value in sent.items() if value is not None}
    return {name: one_spelling[name] for name in _PARAMETERS if name in one_spelling}


def cache_lifetime(*parts: Any) -> str | None:
    """The longest lifetime for which a request asks to cache: Anthropic's `cache_control: {"ttl": "1h"}`.

    `parts`: the request itself, its tools, its messages' contents: mappings, or lists of them.
    """
    blocks = [block for part in parts for block in (part if isinstance(part, list) else [part])]
    asked = [
        block.get("cache_control") for block in blocks if type(block) is dict or isinstance(block, Mapping)
    ]
    lifetimes = {control.get("ttl") for control in asked if isinstance(control, Mapping)}
    return "1h" if "1h" in lifetimes else None


def content_of(blocks: Any) -> Any:
    """A message's content: text blocks joined, so that a streamed reply reads like a whole one.

    Blocks that repeat the tool calls are left out; if others than text remain, they are kept as they are.
    """
    if not isinstance(blocks, list):
        return blocks
    kept = [block for block in blocks if _type_of(block) not in _CALL_BLOCKS]
    texts = [_text_of(block) for block in kept]
    return kept if None in texts else "".join(text for text in texts if text is not None)


def _text_of(block: Any) -> str | None:
    if isinstance(block, str):
        return block
    text = block.get("text") if _type_of(block) in _TEXT_BLOCKS else None
    return text if isinstance(text, str) else None


def _type_of(block: Any) -> Any:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return kind if isinstance(kind, str) else None
