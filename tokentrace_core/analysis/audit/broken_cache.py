"""Broken prompt cache: a long prefix is paid in full again because something in it changed that need not stand there.

Either the system prompt, 1,024 tokens or more, differs from the last one in nothing but figures (a time, an id, a counter), or a message of
the same conversation is sent again behind another prefix. All that follows the change is paid as new; with the change at the
end of the prompt it would have been read from the cache (`sent_again`). The finding says which message, and since when.
"""

from __future__ import annotations

import json

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.prompts import Node, Prompts

_SHOWN = 40


def cause(call: Call, node: Node, before: Node, prompts: Prompts) -> tuple[tuple[str, ...], str]:
    """What tells the finding apart, and its title."""
    changed = _difference(prompts.text(_root(before).message_id), prompts.text(_root(node).message_id))
    title = f"{call.who}: message 1, the system prompt, changes from call to call ({changed}), so its cache is never read ({{times}} calls)"
    return (call.who, call.run_name, "figures"), title


def moved(call: Call, node: Node) -> tuple[tuple[str, ...], str]:
    """As `cause`, for a message that is the same behind another prefix."""
    place = _depth(node)
    title = f"{call.who}: what stands before message {place} changes within a run, so what follows is paid again ({{times}} calls)"
    return (call.who, call.run_name, "moved"), title


def _root(node: Node) -> Node:
    while node.parent is not None:
        node = node.parent
    return node


def _depth(node: Node) -> int:
    depth = 1
    while node.parent is not None:
        node, depth = node.parent, depth + 1
    return depth


def changed_bytes(node: Node, before: Node, prompts: Prompts) -> int:
    """How much of the system prompt is not the same: this would have to be sent anew at the end of the prompt."""
    old, new = prompts.text(_root(before).message_id), prompts.text(_root(node).message_id)
    return max(0, len(new) - _common(old, new) - _common(old[::-1], new[::-1]))


def _difference(before: str, after: str) -> str:
    """What stands where two texts part."""
    begin = max(0, _common(before, after) - _SHOWN // 2)
    shown = json.dumps(after[begin : begin + _SHOWN], ensure_ascii=False)
    return shown.replace("{", "(").replace("}", ")")


def _common(one: str, other: str) -> int:
    """How many characters at the start are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
