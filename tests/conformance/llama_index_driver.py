"""LlamaIndex: `FunctionAgent` with the real clients, recorded process-wide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, ClassVar

from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms import LLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI
from llama_index_instrumentation.dispatcher import instrument_tags

import tokentrace_llama_index
from tests.conformance.driver import Driver
from tests.conformance.work import Helper, Work

#: OpenAI tells a stream's usage only to who asks for it, and takes the question only with a stream.
TOLD = {"stream_options": {"include_usage": True}}


class AnyOpenAI(OpenAI):
    """The client refuses a model whose context window it does not know."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model, is_chat_model=True, is_function_calling_model=True)


class LlamaIndexDriver(Driver):
    framework: ClassVar[str] = "llama-index"

    def attach(self) -> None:
        tokentrace_llama_index.instrument(self.tracer)

    def detach(self) -> None:
        tokentrace_llama_index.uninstrument()

    def ask(self, work: Work) -> str:
        async def ask() -> str:
            return str(await _run(self._agent(work, work, in_thread=True), work))

        return asyncio.run(ask())

    async def ask_async(self, work: Work) -> str:
        return str(await _run(self._agent(work, work), work))

    async def stream(self, work: Work) -> AsyncGenerator[str, None]:
        handler = _run(self._agent(work, work, streaming=True), work)
        try:
            async for event in handler.stream_events():
                if isinstance(event, AgentStream) and event.delta:
                    yield event.delta
            await handler
        finally:
            if not handler.is_done():
                await handler.cancel_run()

    def _agent(
        self, asked: Work | Helper, work: Work, *, streaming: bool = False, in_thread: bool = False
    ) -> FunctionAgent:
        """`in_thread`: helpers are plain functions, which LlamaIndex calls in threads; else they are awaited."""

        def as_tool(helper: Helper) -> FunctionTool:
            async def ask(question: str) -> str:
                inner = self._agent(helper, work, streaming=streaming, in_thread=in_thread)
                return str(await inner.run(question))

            def ask_in_thread(question: str) -> str:
                return asyncio.run(ask(question))

            called = {"fn": ask_in_thread} if in_thread else {"async_fn": ask}
            return FunctionTool.from_defaults(name=helper.tool_name, description=helper.description, **called)

        tools = [*map(FunctionTool.from_defaults, asked.tools), *map(as_tool, asked.helpers)]
        return FunctionAgent(
            name=asked.name, tools=tools, llm=self._model(work, streaming), streaming=streaming
        )

    def _model(self, work: Work, streaming: bool) -> LLM:
        same = {"api_key": "test", "max_retries": 2}
        if work.provider == "anthropic":
            return Anthropic(work.model, base_url=self.server.anthropic_url, **same)
        told = TOLD if streaming else {}
        return AnyOpenAI(work.model, api_base=self.server.openai_url, additional_kwargs=told, **same)


def _run(agent: FunctionAgent, work: Work) -> Any:
    whose = {"user_id": work.user, "session_id": work.session}
    with instrument_tags({name: value for name, value in whose.items() if value is not None}):
        return agent.run(work.question, max_iterations=100)
