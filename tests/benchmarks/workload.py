"""The work that is measured: a LangChain agent that reads, in three forms.

`agent` is `create_agent`, as users run it. `lean` is the same conversation without LangGraph round it. `replay`
is what a handler is told during `agent`, told again to the handler alone. Model and tools are in the process and
cost next to nothing, so what is left is the framework and the handler. No two runs read the same volume: what a
recorder remembers of one run does not spare it the next one's text.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from tests.benchmarks.texts import PAGE

Event = tuple[str, tuple[Any, ...], dict[str, Any]]
Work = Callable[[Any], None]

_volumes = count(1)


@tool
def read_page(volume: int, number: int) -> str:
    """Read a page of a volume of the manual."""
    return f"volume {volume}, page {number}: {PAGE}"


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
        arguments = {"volume": _volume_asked_for(messages), "number": asked}
        calls = [{"id": f"call_{asked}", "name": "read_page", "args": arguments}]
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


def _question() -> str:
    return f"Read all of volume {next(_volumes)}."


def _volume_asked_for(messages: list[BaseMessage]) -> int:
    question = next(message for message in messages if isinstance(message, HumanMessage))
    return int(question.text.rstrip(".").split()[-1])


def spans_of(form: str, steps: int) -> int:
    """How many spans a run has: of models, tools, and the chains round them."""
    calls = calls_of(form, steps)
    return 1 + calls + (0 if form == "lean" else calls)


def calls_of(_: str, steps: int) -> int:
    """How many of them are models and tools."""
    models, tools = steps + 1, steps
    return models + tools


def agent(steps: int) -> Work:
    """An agent that calls a tool `steps` times and then answers."""
    built: Any = create_agent(ScriptedModel(steps=steps), [read_page], system_prompt="You read manuals.")

    def work(callbacks: Any) -> None:
        config = {"callbacks": callbacks, "recursion_limit": 10 * steps + 20}
        built.invoke({"messages": [HumanMessage(_question())]}, config)

    return work


def lean(steps: int) -> Work:
    """The same conversation as a plain loop: one chain round models and tools."""
    model = ScriptedModel(steps=steps)

    def loop(question: str) -> str:
        messages: list[BaseMessage] = [SystemMessage("You read manuals."), HumanMessage(question)]
        while True:
            answer = model.invoke(messages)
            messages.append(answer)
            if not answer.tool_calls:
                return str(answer.text)
            messages += [read_page.invoke(call) for call in answer.tool_calls]

    chain = RunnableLambda(loop, name="lean")

    def work(callbacks: Any) -> None:
        chain.invoke(_question(), {"callbacks": callbacks})

    return work


FORMS: dict[str, Callable[[int], Work]] = {"agent": agent, "lean": lean}


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


def tell(handler: Any, events: list[Event]) -> None:
    """Tell a handler all of it."""
    for name, args, facts in events:
        getattr(handler, name)(*args, **facts)
