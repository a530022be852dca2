"""The work that is measured: a LangChain agent that reads, in three forms.

`agent` is `create_agent`, as users run it. `lean` is the same conversation without LangGraph round it. `replay`
is what a handler is told during `agent`, told again to the handler alone. Model and tools are in the process and
cost next to nothing, so what is left is the framework and the handler.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

Event = tuple[str, tuple[Any, ...], dict[str, Any]]
Work = Callable[[Any], None]

_LINE = "the quick brown fox number {} jumps over the lazy dog of the order desk. "
PAGE = "".join(_LINE.format(number) for number in range(28))  # about 2 KB


@tool
def read_page(number: int) -> str:
    """Read a page of the manual."""
    return f"page {number}: {PAGE}"


class ScriptedModel(BaseChatModel):
    """Asks for a page at every step but the last, and says what it was billed for."""

    steps: int

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **_: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "gpt-4o-mini", "ls_model_type": "chat"}

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        asked = sum(isinstance(message, AIMessage) for message in messages)
        calls = [{"id": f"call_{asked}", "name": "read_page", "args": {"number": asked}}]
        prompt, cached = 600 * (asked + 1), 600 * asked
        message = AIMessage(
            content="" if asked < self.steps else "That was the whole manual.",
            tool_calls=calls if asked < self.steps else [],
            usage_metadata={
                "input_tokens": prompt,
                "output_tokens": 20,
                "total_tokens": prompt + 20,
                "input_token_details": {"cache_read": cached},
            },
            response_metadata={"model_name": "gpt-4o-mini-2024-07-18", "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def agent(steps: int) -> Work:
    """An agent that calls a tool `steps` times and then answers."""
    built = create_agent(ScriptedModel(steps=steps), [read_page], system_prompt="You read manuals.")

    def work(callbacks: Any) -> None:
        config = {"callbacks": callbacks, "recursion_limit": 10 * steps + 20}
        built.invoke({"messages": [HumanMessage("Read all of it.")]}, config)

    return work


def lean(steps: int) -> Work:
    """The same conversation as a plain loop: one chain round models and tools."""
    model = ScriptedModel(steps=steps)

    def loop(_: Any) -> str:
        messages: list[BaseMessage] = [SystemMessage("You read manuals."), HumanMessage("Read all of it.")]
        while True:
            answer = model.invoke(messages)
            messages.append(answer)
            if not answer.tool_calls:
                return str(answer.text)
            messages += [read_page.invoke(call) for call in answer.tool_calls]

    chain = RunnableLambda(loop, name="lean")

    def work(callbacks: Any) -> None:
        chain.invoke("Read all of it.", {"callbacks": callbacks})

    return work


class Recording(BaseCallbackHandler):
    """Keeps what a handler is told."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return lambda *args, **kwargs: self.events.append((name, args, kwargs))


def recorded(steps: int) -> list[Event]:
    """What a handler is told during `agent(steps)`."""
    recording = Recording()
    agent(steps)([recording])
    return recording.events


def again(events: list[Event]) -> list[Event]:
    """The same events as another run: with ids of its own."""
    ids: dict[Any, uuid.UUID] = {}

    def renamed(name: str, value: Any) -> Any:
        if name not in ("run_id", "parent_run_id") or value is None:
            return value
        return ids.setdefault(value, uuid.uuid4())

    return [
        (name, args, {key: renamed(key, value) for key, value in facts.items()})
        for name, args, facts in events
    ]


def tell(handler: Any, events: list[Event]) -> None:
    """Tell a handler all of it."""
    for name, args, facts in events:
        getattr(handler, name)(*args, **facts)
