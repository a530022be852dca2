"""Crews, agents and tools that several tests drive, on CrewAI's own clients."""

from __future__ import annotations

from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

from tests.loopback import LoopbackServer, ToolCall, Turn

WIRES = ("chat", "responses", "anthropic")


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def boom(a: int) -> int:
    """Always fails."""
    raise ValueError("it broke")


def adding(a: int, b: int, **turn: Any) -> Turn:
    """The model asks for a sum."""
    return Turn(tool_calls=(ToolCall("add", {"a": a, "b": b}),), **turn)


def llm(server: LoopbackServer, wire: str = "chat", **more: Any) -> Any:
    """CrewAI's own client for a wire format."""
    if wire == "anthropic":
        return LLM("anthropic/claude-sonnet-4-5", base_url=server.anthropic_url, api_key="k", **more)
    api = {"api": "responses"} if wire == "responses" else {}
    return LLM(
        more.pop("model", "openai/gpt-4o-mini"), base_url=server.openai_url, api_key="k", **api, **more
    )


def agent(server: LoopbackServer, role: str = "Librarian", **more: Any) -> Agent:
    model = more.pop("llm", None) or llm(server)
    return Agent(role=role, goal="help", backstory="old", llm=model, **{"tools": [add, boom], **more})


def task(agent: Agent | None = None, name: str | None = "count", **more: Any) -> Task:
    told = {"description": "Count the books.", "expected_output": "a number", **more}
    return Task(agent=agent, name=name, **told)


def crew(server: LoopbackServer, name: str = "library", **more: Any) -> Crew:
    """One agent with one task."""
    librarian = agent(server, **more)
    return Crew(agents=[librarian], tasks=[task(librarian)], name=name)
