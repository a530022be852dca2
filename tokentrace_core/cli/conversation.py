"""What was said in a run, each message once.

An agent sends its whole history with every call, so only what a call adds is of interest: a message is new if
it stands more often in this prompt than in any conversation before it. That holds for a growing history, for
one whose start was cut off or summarised, and for the model's answer when it comes back in the next prompt.

Two messages are the same if they read the same: an answer and its echo may be stored in two spellings.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tokentrace_core.cli import lines
from tokentrace_core.cli.document import Document
from tokentrace_core.cli.nodes import LLMNode, RunNode
from tokentrace_core.cli.text import clean, clean_lines
from tokentrace_core.cli.tree import llm_calls
from tokentrace_core.store.reader import Reader

_ROLE_STYLES = {"system": "magenta", "user": "green", "assistant": "cyan", "tool": "blue"}


@dataclass(slots=True)
class Turn:
    """What one model call added: the messages that are new in its prompt, and the answer."""

    call: LLMNode
    new: list[Any] = field(default_factory=list)
    repeated: int = 0
    """Messages of its prompt that were there before."""
    answer: Any = None


def read_conversation(reader: Reader, run: RunNode) -> list[Turn]:
    """The turns of a run, in the order of its model calls."""
    before: Counter[str] = Counter()
    turns = []
    for call in llm_calls(run):
        turn = Turn(call, answer=reader.message(call.output_id))
        said: Counter[str] = Counter()
        for message in (row["body"] for row in reader.messages(call.prompt_id)):
            known = _reading(message)
            said[known] += 1
            if said[known] > before[known]:
                turn.new.append(message)
        turn.repeated = said.total() - len(turn.new)
        if turn.answer is not None:
            said[_reading(turn.answer)] += 1
        before |= said
        turns.append(turn)
    return turns


def turn_document(turn: Turn) -> Document:
    """`new`: the stored messages, redacted; `repeated`: how many of the prompt stood in an earlier turn."""
    return {
        "call_id": turn.call.id,
        "model": turn.call.model_name,
        "new": turn.new,
        "repeated": turn.repeated,
        "answer": turn.answer,
    }


def print_conversation(screen: Console, turns: list[Turn]) -> None:
    for number, turn in enumerate(turns, 1):
        screen.print()
        screen.print(Text.assemble((f"── call {number} ", "bold"), lines.llm_line(turn.call)))
        if turn.repeated:
            screen.print(Text(f"({turn.repeated} of its messages stand above)", style="dim"))
        for message in turn.new:
            _print_message(screen, message)
        if turn.answer is not None:
            _print_message(screen, turn.answer, "answer")
        elif error := lines.error_line(turn.call):
            screen.print(error)


def _print_message(screen: Console, message: Any, kind: str | None = None) -> None:
    role, text = _role(message), _said(message)
    label = Text(clean(role), style=f"bold {_ROLE_STYLES.get(role, '')}".strip())
    name = message.get("name") if isinstance(message, Mapping) else None
    if name or kind:
        label.append(f" ({clean(name or kind)})", style="dim")
    screen.print(label)
    for line in clean_lines(text).split("\n"):
        # One by one: a block of lines would be filled up with blanks to its longest.
        screen.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2), expand=False) if line else "")


def _reading(message: Any) -> str:
    """What tells a message from others for a reader."""
    return f"{_role(message)}\n{_said(message)}"


def _role(message: Any) -> str:
    return str(message.get("role") or "?") if isinstance(message, Mapping) else "?"


def _said(message: Any) -> str:
    """A message as text: its content, then the tool calls it asks for."""
    if not isinstance(message, Mapping):
        return _compact(message)
    calls = message.get("tool_calls")
    content = list(_content(message.get("content")))
    asked = [_asked(call) for call in calls] if isinstance(calls, list) else []
    # Anthropic's content has a block for each request, and some clients repeat them in tool_calls.
    parts = [*content, *(call for call in asked if call not in content)]
    return "\n".join(part for part in parts if part) or "(empty)"


def _content(content: Any) -> Iterator[str]:
    if isinstance(content, list):
        for block in content:
            yield _block(block)
    elif content is not None:
        yield _compact(content)


def _block(block: Any) -> str:
    if not isinstance(block, Mapping):
        return _compact(block)
    match block.get("type"):
        case "text" | "input_text" | "output_text":
            return _compact(block.get("text"))
        case "tool_use" | "tool_call" | "function_call":
            return _asked(block)
        case "tool_result":
            return "\n".join(["← result", *_content(block.get("content"))])
        case "thinking" | "reasoning":
            return f"(thinking) {_compact(block.get('thinking') or block.get('reasoning') or block)}"
    return _compact(block)


def _asked(call: Any) -> str:
    """`→ lookup({"order_id":4})`, from our own spelling or a provider's."""
    if not isinstance(call, Mapping):
        return f"→ {_compact(call)}"
    function = call.get("function")
    inner: Mapping[str, Any] = function if isinstance(function, Mapping) else call
    arguments = next((inner[key] for key in ("arguments", "args", "input") if key in inner), None)
    return f"→ {inner.get('name') or '?'}({_compact(_parsed(arguments))})"


def _parsed(arguments: Any) -> Any:
    """Arguments that came as JSON text, as what the text says."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _compact(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
