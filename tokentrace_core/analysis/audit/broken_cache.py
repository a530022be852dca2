"""Broken prompt cache: a long prefix is paid in full again because something in it changed that need not stand there.

Either the system prompt, 1,024 tokens or more, differs from the last one in nothing but figures (a time, an id, a counter), or a message of
the same conversation is sent again behind another prefix. All that follows the change is paid as new; with the change at the
end of the prompt it would have been read from the cache (`sent_again`). The finding says which message, and since when.
"""

from __future__ import annotations

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.findings import Cause, Title, plain
from tokentrace_core.analysis.audit.nodes import Node, upwards
from tokentrace_core.analysis.audit.prompts import Prompts, common


def cause(call: Call, how: str) -> Cause:
    """What tells the finding apart. `how`: "changed" or "moved"."""
    return call.who, call.run.name, how


def changed(call: Call, node: Node, before: Node) -> Title:
    """The system prompt is another one."""
    return Title(
        f"{plain(call.who)}: message 1, the system prompt, changes from call to call ({{differs}}), "
        "so its cache is never read ({times} in all)",
        (_root(before).message_id, _root(node).message_id),
    )


def moved(call: Call, node: Node) -> Title:
    """The same message stands behind another prefix."""
    return Title(
        f"{plain(call.who)}: what stands before message {sum(1 for _ in upwards(node))} changes within a run, "
        "so what follows is paid again ({times} in all)"
    )


def _root(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


def changed_bytes(node: Node, before: Node, prompts: Prompts) -> int:
    """How much of the system prompt is not the same: this would have to be sent anew at the end of the prompt."""
    old, new = prompts.text(_root(before).message_id), prompts.text(_root(node).message_id)
    return max(0, len(new) - common(old, new) - common(old[::-1], new[::-1]))
