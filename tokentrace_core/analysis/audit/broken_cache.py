"""Broken prompt cache: a long prefix is paid in full again because something in it changed that need not stand there.

Either the system prompt, 1,024 tokens or more, differs from the last one in nothing but figures (a time, an id, a counter), or a message of
the same conversation is sent again behind another prefix. All that follows the change is paid as new; with the change at the
end of the prompt it would have been read from the cache (`sent_again`). The finding says which message, and since when.
"""

from __future__ import annotations

import json

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.findings import Cause, plain
from tokentrace_core.analysis.audit.nodes import Node, upwards
from tokentrace_core.analysis.audit.prompts import Prompts

_SHOWN = 40


def cause(call: Call, how: str) -> Cause:
    """What tells the finding apart. `how`: "changed" or "moved"."""
    return call.who, call.run.name, how


def changed(call: Call, node: Node, before: Node, prompts: Prompts) -> str:
    """Title: the system prompt is another one."""
    shown = _difference(prompts.text(_root(before).message_id), prompts.text(_root(node).message_id))
    return f"{plain(call.who)}: message 1, the system prompt, changes from call to call ({shown}), so its cache is never read ({{times}} in all)"


def moved(call: Call, node: Node) -> str:
    """Title: the same message stands behind another prefix."""
    return (
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
    return max(0, len(new) - _common(old, new) - _common(old[::-1], new[::-1]))


def _difference(before: str, after: str) -> str:
    """What stands where two texts part."""
    begin = max(0, _common(before, after) - _SHOWN // 2)
    shown = json.dumps(after[begin : begin + _SHOWN], ensure_ascii=False)
    return plain(shown)


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
