"""CrewAI: a crew of one agent with one task on CrewAI's own clients, recorded process-wide."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, ClassVar

from crewai import LLM, Agent, Crew, Task
from crewai.events import crewai_event_bus
from crewai.tools import BaseTool, tool
from crewai.types.streaming import StreamChunkType

import tokentrace_crewai
from tests.conformance.driver import Driver
from tests.conformance.work import Helper, Work

#: Makes of a helper and the agent behind it the function that asks this agent.
Asking = Callable[[Helper, Agent], Callable[..., Any]]


class CrewAIDriver(Driver):
    framework: ClassVar[str] = "crewai"

    def attach(self) -> None:
        tokentrace_crewai.instrument(self.tracer)

    def detach(self) -> None:
        tokentrace_crewai.uninstrument()

    def settle(self) -> None:
        crewai_event_bus.flush()

    def ask(self, work: Work) -> str:
        crew = self._crew(work, _asking)
        return str(crew.kickoff(inputs=_whose(work)).raw)

    async def ask_async(self, work: Work) -> str:
        crew = self._crew(work, _asking_async)
        return str((await crew.akickoff(inputs=_whose(work))).raw)

    async def stream(self, work: Work) -> AsyncGenerator[str, None]:
        crew = self._crew(work, _asking_async, stream=True)
        async with await crew.akickoff(inputs=_whose(work)) as pieces:
            async for piece in pieces:
                if piece.chunk_type is StreamChunkType.TEXT and piece.agent_role == work.name:
                    yield piece.content

    def _crew(self, work: Work, asking: Asking, **how: Any) -> Any:
        url = self.server.anthropic_url if work.provider == "anthropic" else self.server.openai_url
        llm = LLM(model=work.model, provider=work.provider, base_url=url, max_retries=2, **how)
        agent = _agent(work, llm, asking)
        task = Task(description=work.question, expected_output="the answer", agent=agent)
        return Crew(agents=[agent], tasks=[task], **how)


def _agent(asked: Work | Helper, llm: Any, asking: Asking) -> Agent:
    return Agent(
        role=asked.name,
        goal="Answer.",
        backstory="You answer.",
        llm=llm,
        tools=[
            *map(tool, asked.tools),
            *(_as_tool(helper, asking(helper, _agent(helper, llm, asking))) for helper in asked.helpers),
        ],
        max_iter=30,
        max_retry_limit=0,
    )


def _as_tool(helper: Helper, ask: Callable[..., Any]) -> BaseTool:
    ask.__doc__ = helper.description
    return tool(helper.tool_name)(ask)


def _asking(helper: Helper, agent: Agent) -> Callable[..., Any]:
    def ask(question: str) -> str:
        return str(agent.kickoff(question).raw)

    return ask


def _asking_async(helper: Helper, agent: Agent) -> Callable[..., Any]:
    async def ask(question: str) -> str:
        return str((await agent.kickoff_async(question)).raw)

    return ask


def _whose(work: Work) -> dict[str, str]:
    whose = {"user_id": work.user, "session_id": work.session}
    return {name: value for name, value in whose.items() if value is not None}
