"""The prompts of one run as paths in the prefix tree, read at once: which messages, how large, and in which shape.

The shape of a path is the path without what changes from call to call in its first message: of a large system prompt only the end
counts, without figures, so that two that differ by a name, a time or an id have one shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from tokentrace_core.analysis.audit.calls import Call, Trace

#: A system prompt below this is not looked into: it is less than any cache takes (1,024 tokens of 4 bytes).
LARGE_BYTES = 4_096
#: Texts whose skeleton is remembered.
_REMEMBERED = 10_000
#: Two large system prompts that end in the same so many characters, but for figures, are one with something changed in it.
_TAIL = 2_048
#: Where a text that retention has taken says so.
_MARKER = 60
#: Digits, and the letters that ids in hexadecimal have.
_FIGURES = b"0123456789abcdefABCDEF"

_PATHS = """
    with recursive up(id, parent_id, message_id, depth) as (
        select id, parent_id, message_id, depth from prompts where id in (select value from json_each(?))
        union select p.id, p.parent_id, p.message_id, p.depth from up join prompts p on p.id = up.parent_id
    )
    select up.id, up.parent_id, up.message_id, up.depth, m.role, coalesce(m.bytes, 0) from up left join messages m on m.id = up.message_id
    order by up.depth
"""


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
    """The paths of the run at hand."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._skeletons: dict[str, int] = {}
        self._sizes: dict[str, int] = {}

    def of_run(self, calls: list[Call]) -> dict[str, Node]:
        """Each prompt of these calls by its id, as its last message."""
        wanted = json.dumps(list({call.prompt_id for call in calls if call.prompt_id}))
        nodes: dict[str, Node] = {}
        for node_id, parent_id, message_id, _, role, size in self._trace.rows(_PATHS, [wanted]):
            parent = nodes.get(parent_id)
            begins = parent.ends if parent else 0
            part = self._skeleton(message_id) if parent is None and role == "system" else message_id
            shape = hash((parent.shape if parent else None, part))
            nodes[node_id] = Node(node_id, parent, message_id, role, begins, begins + size, shape)
        return nodes

    def tools_size(self, tools_id: str | None) -> int:
        """Bytes of the tool definitions, which stand before all messages."""
        if tools_id is None:
            return 0
        if tools_id not in self._sizes:
            found = self._trace.rows("select bytes from messages where id = ?", [tools_id])
            self._sizes[tools_id] = int(next(found, (0,))[0] or 0)
        return self._sizes[tools_id]

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
