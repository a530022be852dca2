"""Models, agents and tools that several tests drive."""

from __future__ import annotations

from typing import Any

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses

from tests.loopback import LoopbackServer, Turn, TurnUsage

#: OpenAI tells a stream's usage only to who asks for it.
TOLD = {"stream_options": {"include_usage": True}}
WIRES = ("chat", "responses", "anthropic")
QUESTION = [ChatMessage("Will it rain?")]


def model(server: LoopbackServer, wire: str = "chat", **settings: Any) -> LLM:
    """A real client of one of the wire formats; the one for chat asks for the usage of streams."""
    if wire == "anthropic":
        return Anthropic(
            "claude-haiku-4-5", base_url=server.anthropic_url, api_key="test", max_retries=0, **settings
        )
    openai = {"api_base": server.openai_url, "api_key": "test", "max_retries": 0, **settings}
    if wire == "responses":
        return OpenAIResponses("gpt-4o-mini", **openai)
    return OpenAI("gpt-4o-mini", **{"additional_kwargs": TOLD, **openai})


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def reasoning_to_add(usage: TurnUsage) -> Turn:
    """A ReAct agent's model asks for a sum."""
    return Turn('Thought: sum\nAction: add\nAction Input: {"a": 1, "b": 2}', usage=usage)


def agent(server: LoopbackServer, *tools: Any, name: str = "agent", **settings: Any) -> FunctionAgent:
    return FunctionAgent(name=name, description=name, tools=list(tools), llm=model(server), **settings)


def team(server: LoopbackServer, **settings: Any) -> AgentWorkflow:
    """An agent that can only hand over to one that adds."""
    boss = agent(server, name="boss", can_handoff_to=["adder"], **settings)
    return AgentWorkflow([boss, agent(server, add, name="adder", **settings)], root_agent="boss")


def asking(inner: FunctionAgent, name: str = "ask") -> FunctionTool:
    """A tool that is an agent."""

    async def ask(question: str) -> str:
        return str(await inner.run(question))

    return FunctionTool.from_defaults(async_fn=ask, name=name, description="Ask another agent.")


async def answer(workflow: Any, *question: Any, **asked: Any) -> str:
    """What a workflow answers."""
    return str(await workflow.run(*(question if question or asked else ("go",)), **asked))


def library() -> VectorStoreIndex:
    """An index over one page: all vectors of the mock are equal, so two would be found in any order."""
    return VectorStoreIndex.from_documents([Document(text="It will rain.")], embed_model=MockEmbedding(8))
