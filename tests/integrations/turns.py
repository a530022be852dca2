"""What a scripted model answers in the tests of every framework."""

from __future__ import annotations

from typing import Any

from tests.loopback import ToolCall, Turn


def adding(a: int, b: int, **turn: Any) -> Turn:
    """The model asks for a sum."""
    return Turn(tool_calls=(ToolCall("add", {"a": a, "b": b}),), **turn)
