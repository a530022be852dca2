"""LangChain: `create_agent` with the real chat models, recorded by a handler in the config."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import BaseTool, StructuredTool

from tests.conformance.driver import Driver
from tests.conformance.work import Helper, Work
from tests.loopback import LoopbackServer
from tests.loopback.clients import chat_anthropic, chat_openai
from tokentrace_core import Tracer
from tokentrace_langchain import TokentraceHandler

#: Without it a tool that raises ends the run.
TELL_FAILURES = ToolRetryMiddleware(max_retries=0, on_failure="continue")


class LangChainDriver(Driver):
    framework: ClassVar[str] = "langchain"

    def __init__(self, tracer: Tracer, server: LoopbackServer) -> None:
        super().__init__(tracer, server)
        self._handlers: list[TokentraceHandler] = []

    def attach(self) -> None:
        self._handlers.append(TokentraceHandler(self.tracer))

    def detach(self) -> None:
        self._handlers.clear()

    def ask(self, work: Work) -> str:
        state = self._agent(work, self._model(work)).invoke(_said(work.question), self._config(work))
        return str(state["messages"][-1].text)

    async def ask_async(self, work: Work) -> str:
        agent = self._agent(work, self._model(work))
        state = await agent.ainvoke(_said(work.question), self._config(work))
        return str(state["messages"][-1].text)

    async def stream(self, work: Work) -> AsyncGenerator[str, None]:
        agent = self._agent(work, self._model(work))
        pieces = agent.astream(_said(work.question), self._config(work), stream_mode="messages")
        async with aclosing(pieces):
            async for message, metadata in pieces:
                own = metadata.get("lc_agent_name") == work.name and isinstance(message, AIMessageChunk)
                if own and message.text:
                    yield message.text

    def _config(self, work: Work) -> Any:
        whose = {"user_id": work.user, "session_id": work.session}
        said = {name: value for name, value in whose.items() if value is not None}
        return {"callbacks": [*self._handlers], "metadata": said}

    def _model(self, work: Work) -> BaseChatModel:
        if work.provider == "anthropic":
            return chat_anthropic(self.server).model_copy(update={"model": work.model})
        return chat_openai(self.server, stream_usage=True).model_copy(update={"model_name": work.model})

    def _agent(self, asked: Work | Helper, model: BaseChatModel) -> Any:
        helpers = [_as_tool(helper, self._agent(helper, model)) for helper in asked.helpers]
        return create_agent(
            model,
            [*asked.tools, *helpers],
            name=asked.name,
            middleware=[TELL_FAILURES] if asked.tools else [],
        )


def _as_tool(helper: Helper, agent: Any) -> BaseTool:
    def ask(question: str) -> str:
        return str(agent.invoke(_said(question))["messages"][-1].text)

    async def ask_async(question: str) -> str:
        return str((await agent.ainvoke(_said(question)))["messages"][-1].text)

    return StructuredTool.from_function(ask, ask_async, name=helper.tool_name, description=helper.description)


def _said(question: str) -> Any:
    return {"messages": [("user", question)]}
