"""A recorded prompt in pieces: which tokens are which message, what was paid for them, and what is left of it after cuts.

Tokens of a message are not reported. They are estimated: of the prompt's tokens, which are, the message's part of its bytes. A
prompt is paid from its start: what the cache had, then what was written to it, then the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.nodes import Node

Span = tuple[int, int]
"""Positions in a prompt, in tokens."""


class Piece(NamedTuple):
    """One message of a prompt."""

    node: Node
    begins: int
    ends: int

    @property
    def tokens(self) -> int:
        return self.ends - self.begins

    @property
    def answers(self) -> str | None:
        """The prompt that this message is the answer to: an agent sends its history and the reply to it. None: to none."""
        parent = self.node.parent
        return parent.id if parent is not None and self.node.role == "assistant" else None


def pieces_of(call: Call, leaf: Node | None, tools: int) -> tuple[Piece, ...]:
    """The messages of a call's prompt, first to last. `tools`: bytes of the definitions, which stand before all of them."""
    path: list[Node] = []
    node = leaf
    while node is not None:
        path.append(node)
        node = node.parent
    whole = (tools + leaf.ends if leaf else 0) or 1

    def tokens(position: int) -> int:
        return call.prompt * (tools + position) // whole

    return tuple(Piece(each, tokens(each.begins), tokens(each.ends)) for each in reversed(path))


class Zones:
    """Tokens of a call by what is paid for them; they change as it is told what would be otherwise."""

    __slots__ = ("output", "read", "uncached", "write_1h", "write_5m")

    def __init__(self, call: Call) -> None:
        self.uncached, self.read = call.uncached, call.read
        self.write_5m, self.write_1h, self.output = call.write_5m, call.write_1h, call.output

    @property
    def prompt(self) -> int:
        return self.uncached + self.in_cache

    @property
    def in_cache(self) -> int:
        """How much of the prompt's start the cache has after the call."""
        return self.read + self.write_5m + self.write_1h

    def cut(self, spans: Iterable[Span]) -> None:
        """Leave out parts of the prompt. The spans do not overlap."""
        for begins, ends in sorted(
            spans, reverse=True
        ):  # from behind: positions before it stay what they are
            at = 0
            for zone in ("read", "write_5m", "write_1h", "uncached"):
                size = getattr(self, zone)
                setattr(self, zone, size - max(0, min(ends, at + size) - max(begins, at)))
                at += size

    def read_up_to(self, position: int) -> None:
        """So much of the prompt's start comes from the cache."""
        missing = min(position, self.prompt) - self.read
        for zone in ("write_5m", "write_1h", "uncached"):
            moved = max(0, min(missing, getattr(self, zone)))
            setattr(self, zone, getattr(self, zone) - moved)
            self.read += moved
            missing -= moved

    def as_tuple(self) -> tuple[int, int, int, int, int]:
        """In the order of a `Tariff`."""
        return self.uncached, self.read, self.write_5m, self.write_1h, self.output
