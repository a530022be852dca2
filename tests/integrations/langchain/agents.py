"""Agents, graphs and tools that several tests drive."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langgraph.graph.message import add_messages

from tests.loopback import LoopbackServer, ToolCall, Turn
from tests.loopback.clients import chat_openai

GO = {"messages": [("user", "go")]}


class Chat(TypedDict):
    """The state of hand-written graphs: a conversation."""

    messages: Annotated[list[Any], add_messages]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def adding(a: int, b: int, **turn: Any) -> Turn:
    """The model asks for a sum."""
    return Turn(tool_calls=(ToolCall("add", {"a": a, "b": b}),), **turn)


def agent(server: LoopbackServer, *tools: BaseTool, name: str = "agent", **model: Any) -> Any:
    """An agent on a model that reports its usage when it streams too."""
    return create_agent(chat_openai(server, **{"stream_usage": True, **model}), list(tools), name=name)


def asking(inner: Any, name: str = "ask") -> BaseTool:
    """A tool that is an agent."""

    def ask(question: str) -> str:
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].content)

    async def ask_async(question: str) -> str:
        answer = await inner.ainvoke({"messages": [("user", question)]})
        return str(answer["messages"][-1].content)

    from langchain_core.tools import StructuredTool

    return StructuredTool.from_function(ask, ask_async, name=name, description="Ask another agent.")
