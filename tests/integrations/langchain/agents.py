"""Agents, graphs and tools that several tests drive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, StructuredTool, tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from tests.loopback import LoopbackServer
from tests.loopback.clients import chat_openai

GO = {"messages": [("user", "go")]}


class Chat(TypedDict):
    """The state of hand-written graphs: a conversation."""

    messages: Annotated[list[Any], add_messages]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent(server: LoopbackServer, *tools: BaseTool, name: str = "agent", **model: Any) -> Any:
    """An agent on a model that reports its usage when it streams too."""
    return create_agent(chat_openai(server, **{"stream_usage": True, **model}), list(tools), name=name)


def other_model(server: LoopbackServer, name: str) -> Any:
    """A chat model of another name."""
    return chat_openai(server, stream_usage=True).model_copy(update={"model_name": name})


class Library(BaseRetriever):
    """Finds the same page whatever it is asked."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Any]:
        return [Document(f"About {query}.", metadata={"page": 7})]


def asking(inner: Any, name: str = "ask") -> BaseTool:
    """A tool that is an agent."""

    def ask(question: str) -> str:
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].content)

    async def ask_async(question: str) -> str:
        answer = await inner.ainvoke({"messages": [("user", question)]})
        return str(answer["messages"][-1].content)

    return StructuredTool.from_function(ask, ask_async, name=name, description="Ask another agent.")


def loop_of(think: Any, **node: Any) -> Any:
    """A hand-written graph that thinks for ever."""
    graph = StateGraph(Chat)
    graph.add_node("think", think, **node)
    graph.add_edge(START, "think")
    graph.add_edge("think", "think")
    return graph.compile(name="loop")


def ask(model: Any) -> Callable[[Chat], dict[str, Any]]:
    """A node that asks a model."""

    def think(state: Chat) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    return think
