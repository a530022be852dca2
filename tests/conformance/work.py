"""What an agent is asked to do, as data, and what the model answers, by what it is asked.

No framework appears here. A driver builds the agent that the data describes, and the scripted model answers
whoever asks by the conversation alone, so it does not matter who comes first, what system prompt a framework adds
or whether it streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.loopback import ToolCall, Turn
from tests.loopback.turns import Json

#: A plain Python function with type hints and a docstring, whose arguments and result are simple values.
Tool = Callable[..., str]


@dataclass(frozen=True)
class Helper:
    """An agent that another one may ask: it is offered as the tool `ask_<name>(question: str) -> str`."""

    name: str
    tools: tuple[Tool, ...] = ()
    helpers: tuple[Helper, ...] = ()

    @property
    def tool_name(self) -> str:
        return f"ask_{self.name}"

    @property
    def description(self) -> str:
        return f"Ask the {self.name}."


@dataclass(frozen=True)
class Work:
    """One request to one agent, built and asked anew each time."""

    question: str
    tools: tuple[Tool, ...] = ()
    helpers: tuple[Helper, ...] = ()
    name: str = "boss"
    """The agent's name."""
    provider: Literal["openai", "anthropic"] = "openai"
    """Whose wire format, and so whose real client."""
    model: str = "gpt-4o-mini"
    """For the agent and its helpers. It may be one that nobody has heard of."""
    user: str | None = None
    session: str | None = None
    """Whose request it is, and in which conversation; said in the framework's own way."""


class ScriptedModel:
    """Answers by the question of the conversation, and in it by the number of replies it has given so far."""

    def __init__(self) -> None:
        self._turns: dict[str, tuple[Turn, ...]] = {}

    def expect(self, question: str, *turns: Turn) -> None:
        """Asked this, it gives these answers, one after the other; the last one over and over.

        The question must not be a part of another one.
        """
        self._turns[question] = turns

    def __call__(self, body: Json) -> Turn:
        """The function for `LoopbackServer.answer_with`."""
        said = "\n".join(_said_by_user(body["messages"]))
        asked = [question for question in self._turns if question in said]
        if len(asked) != 1:
            raise LookupError(f"{len(asked)} of the scripted questions are in the request: {said!r}")
        turns = self._turns[asked[0]]
        given = sum(map(_asks_for_tools, body["messages"]))
        return turns[min(given, len(turns) - 1)]


def calls(*asked: tuple[str, Mapping[str, Any]], **turn: Any) -> Turn:
    """The model asks for these tools, all at once."""
    return Turn(tool_calls=tuple(ToolCall(name, dict(arguments)) for name, arguments in asked), **turn)


def _said_by_user(messages: Sequence[Json]) -> list[str]:
    """The texts of the user's messages; in Anthropic's format the results of tools are in there, too."""
    texts = []
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts += [block["text"] for block in blocks if block["type"] == "text"]
    return texts


def _asks_for_tools(message: Json) -> bool:
    if message["role"] != "assistant":
        return False
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return bool(message.get("tool_calls")) or any(block["type"] == "tool_use" for block in blocks)


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def divide(a: int, b: int) -> str:
    """Divide two numbers. This one is out of order."""
    raise ArithmeticError("out of numbers")
