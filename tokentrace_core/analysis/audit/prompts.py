"""The prompts of some runs as paths in the prefix tree, read at once: which messages, how large, and in which shape.

The shape of a path is the path without what changes from call to call in its first message: of a large system prompt only the end
counts, without figures, so that two that differ by a name, a time or an id have one shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tokentrace_core.analysis.audit.calls import Call, Trace

#: A system prompt below this is not looked into: it is less than any cache takes (1,024 tokens of 4 bytes).
LARGE_BYTES = 4_096
_REMEMBERED_MESSAGES = 50_000
#: Texts whose skeleton is remembered.
_REMEMBERED = 10_000
#: Two large system prompts that end in the same so many characters, but for figures, are one with something changed in it.
_TAIL = 2_048
#: Where a text that retention has taken says so.
_MARKER = 60
#: Digits, and the letters that ids in hexadecimal have.
_FIGURES = b"0123456789abcdefABCDEF"

_PATHS = """
    with recursive up(id) as (
        select value from json_each(?)
        union select p.parent_id from up join prompts p on p.id = up.id where p.parent_id is not null
    )
    select p.id, p.parent_id, p.message_id from up join prompts p on p.id = up.id order by p.depth
"""
_MESSAGES = "select id, role, coalesce(bytes, 0) from messages where id in (select value from json_each(?))"


class Node(NamedTuple):
    """One message of a prompt, in its place."""

    id: str
    parent: Node | None
    message_id: str
    role: str | None
    begins: int
    """Bytes of what stands before it."""
    ends: int
    shape: int

    @property
    def size(self) -> int:
        return self.ends - self.begins


def upwards(leaf: Node | None) -> Iterator[Node]:
    """A prompt's messages, last to first."""
    node = leaf
    while node is not None:
        yield node
        node = node.parent


class Place:
    """Where in a prompt a byte stands, in tokens: the tools first, then the messages, each by its size."""

    def __init__(self, call: Call, leaf: Node, tools: int) -> None:
        self._prompt, self._tools, self._all = call.prompt, tools, tools + leaf.ends

    def tokens(self, position: int) -> int:
        return self._prompt * (self._tools + position) // (self._all or 1)


class Prompts:
    """Reads the paths of the runs at hand."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._skeletons: dict[str, int] = {}
        self._messages: dict[str, tuple[str | None, int]] = {}

    def of(self, calls: Iterable[Call]) -> dict[str, Node]:
        """Each prompt of these calls by its id, as its last message."""
        wanted = {call.prompt_id for call in calls if call.prompt_id}
        rows = list(self._trace.rows(_PATHS, [json.dumps(list(wanted))]))
        self._meet({message_id for _, _, message_id in rows})
        nodes: dict[str, Node] = {}
        for node_id, parent_id, message_id in rows:
            role, size = self._messages.get(message_id, (None, 0))
            parent = nodes.get(parent_id)
            if parent is None:
                part = self._skeleton(message_id) if role == "system" else message_id
                nodes[node_id] = Node(node_id, None, message_id, role, 0, size, hash((None, part)))
            else:
                shape = hash((parent.shape, message_id))
                nodes[node_id] = Node(
                    node_id, parent, message_id, role, parent.ends, parent.ends + size, shape
                )
        return nodes

    def _meet(self, message_ids: Iterable[str]) -> None:
        """Learn role and size of messages."""
        if len(self._messages) > _REMEMBERED_MESSAGES:
            self._messages.clear()
        new = [message_id for message_id in message_ids if message_id not in self._messages]
        for message_id, role, size in self._trace.rows(_MESSAGES, [json.dumps(new)]):
            self._messages[message_id] = role, size

    def tools_size(self, tools_id: str | None) -> int:
        """Bytes of the tool definitions, which stand before all messages."""
        if tools_id is None:
            return 0
        if tools_id not in self._messages:
            self._meet([tools_id])
        return self._messages.get(tools_id, (None, 0))[1]

    def text(self, message_id: str) -> str:
        """A message as it is stored."""
        found = self._trace.rows("select body from messages where id = ?", [message_id])
        return str(next(found, ("",))[0] or "")

    def _skeleton(self, message_id: str) -> int:
        if message_id not in self._skeletons:
            if len(self._skeletons) >= _REMEMBERED:
                self._skeletons.clear()
            text = self.text(message_id)
            # What retention has taken looks alike, and is not.
            gone = "[expired: " in text[:_MARKER]
            end = text[-_TAIL:].encode("utf-8", "replace").translate(None, _FIGURES)
            self._skeletons[message_id] = hash(message_id if gone else end)
        return self._skeletons[message_id]


def beginning(body: str, characters: int) -> str:
    """How a stored message begins, on one line."""
    try:
        message = json.loads(body)
    except ValueError:
        message = body
    content = message.get("content") if isinstance(message, dict) else message
    text = content if isinstance(content, str) else json.dumps(content)
    return " ".join(text[: 4 * characters].split())[:characters]
