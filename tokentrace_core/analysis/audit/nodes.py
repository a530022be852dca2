"""A prompt as a path in the prefix tree: which messages, how large, and in which shape.

The shape of a path is the path without what changes from call to call in its first message: of a large system prompt only the end
counts, without figures, so that two that differ by a name, a time or an id have one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

Skeleton = Callable[[str], int]
"""What of a system prompt stays the same from call to call, as a number, by the message's id."""


class NodeRow(Struct, array_like=True, gc=False):
    """One row of the prefix tree with its message."""

    id: str
    parent_id: str | None
    message_id: str
    role: str | None
    bytes: int
    depth: int


class Node(Struct, eq=False, gc=False):
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


def nodes_of(rows: Iterable[NodeRow], skeleton: Skeleton) -> dict[str, Node]:
    """Each prompt by its id, as its last message. Of each row the parent's is among the rows, too."""
    nodes: dict[str, Node] = {}
    for row in sorted(rows, key=lambda row: row.depth):
        parent = nodes.get(row.parent_id) if row.parent_id is not None else None
        message = row.message_id
        if parent is None:
            part = skeleton(message) if row.role == "system" else message
            nodes[row.id] = Node(row.id, None, message, row.role, 0, row.bytes, hash((None, part)))
        else:
            begins = parent.ends
            shape = hash((parent.shape, message))
            nodes[row.id] = Node(row.id, parent, message, row.role, begins, begins + row.bytes, shape)
    return nodes


def upwards(leaf: Node | None) -> Iterator[Node]:
    """A prompt's messages, last to first."""
    node = leaf
    while node is not None:
        yield node
        node = node.parent


class Place:
    """Where in a prompt a byte stands, in tokens: the tools first, then the messages, each by its size."""

    __slots__ = ("_all", "_prompt", "_tools")

    def __init__(self, prompt: int, leaf: Node, tools: int) -> None:
        """`prompt`: its tokens. `tools`: the bytes of their definitions."""
        self._prompt, self._tools, self._all = prompt, tools, (tools + leaf.ends) or 1

    def tokens(self, position: int) -> int:
        return self._prompt * (self._tools + position) // self._all
