"""Context re-fetching: the same file or block read, or sent, again in another turn or run, and paid in full again.

A block is a message of 1,024 tokens or more that is no system prompt: a file that a tool read, a document in a user's message. Each
sending after the first within the cache's lifetime should have been read from the cache at that model's price (`sent_again`). A
block that comes back after the cache has forgotten it is no waste: nothing was to be saved.
"""

from __future__ import annotations

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.findings import Cause, Title, plain
from tokentrace_core.analysis.audit.nodes import Node
from tokentrace_core.analysis.audit.prompts import LARGE_BYTES


def fetched(node: Node | None) -> Node | None:
    """The largest block of a prefix; None if nothing but system prompt in it is large."""
    blocks = []
    while node is not None:
        if node.role not in ("system", "developer") and node.size >= LARGE_BYTES:
            blocks.append(node)
        node = node.parent
    return max(blocks, key=lambda block: block.size, default=None)


def cause(call: Call) -> Cause:
    """What tells the finding apart."""
    return call.who, call.run.name


def title(call: Call, block: Node) -> Title:
    return Title(
        f"{plain(call.who)}: “{{begins}}” fetched and sent again in {{times}} turns", (block.message_id,)
    )
