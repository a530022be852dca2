"""The demo's agent, built with LlamaIndex: a real `FunctionAgent` with real tools.

Its model is a string such as "openai:gpt-4o-mini", which needs that client and a key, or a scripted one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool, ToolSelection
from llama_index_instrumentation.dispatcher import instrument_tags

from tokentrace_core import TokentraceError, Tracer
from tokentrace_llama_index.mapping import to_message
from tokentrace_llama_index.process_wide import instrument, uninstrument

#: From the conversation, in the common form, to {"content", "tool_calls", "usage"}.
Answer = Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]

#: Which package and class speak to a provider.
_CLIENTS = {
    "openai": ("llama_index.llms.openai", "OpenAI"),
    "anthropic": ("llama_index.llms.anthropic", "Anthropic"),
}


class ScriptedModel(FunctionCallingLLM):
    """A chat model that answers from a function, under the name (and so the price) of a real one."""

    answer: Any
    model: str = "gpt-4o-mini"

    @classmethod
    def class_name(cls) -> str:
        return "openai_llm"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.model, is_chat_model=True, is_function_calling_model=True)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        answer: Mapping[str, Any] = self.answer([to_message(message) for message in messages])
        calls = answer.get("tool_calls", ())
        blocks: list[Any] = [TextBlock(text=answer.get("content", ""))]
        blocks += [
            ToolCallBlock(tool_call_id=call["id"], tool_name=call["name"], tool_kwargs=call["args"])
            for call in calls
        ]
        usage = answer["usage"]
        raw = {
            "model": self.model,
            "choices": [{"finish_reason": "tool_calls" if calls else "stop"}],
            "usage": {
                "prompt_tokens": usage["input"],
                "completion_tokens": usage["output"],
                "prompt_tokens_details": {"cached_tokens": usage.get("cached", 0)},
            },
        }
        return ChatResponse(message=ChatMessage(role="assistant", blocks=blocks), raw=raw)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        reply: ChatResponse = self.chat(messages, **kwargs)
        return reply

    def _prepare_chat_with_tools(
        self, tools: Sequence[Any], user_msg: Any = None, chat_history: Any = None, *_: Any, **__: Any
    ) -> dict[str, Any]:
        described = [tool.metadata.to_openai_tool() for tool in tools]
        return {"messages": [*(chat_history or ()), *([user_msg] if user_msg else ())], "tools": described}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **_: Any
    ) -> list[ToolSelection]:
        asked = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_given(call))
            for call in asked
        ]

    # ── the same answer, in the other ways of asking: whole, however it is asked for ────────────────

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return (self.chat(messages) for _ in range(1))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def pieces() -> ChatResponseAsyncGen:
            yield await self.achat(messages)

        return pieces()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        reply: ChatResponse = self.chat([ChatMessage(role="user", content=prompt)])
        return CompletionResponse(text=reply.message.content or "", raw=reply.raw)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self.complete(prompt)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return (self.complete(prompt) for _ in range(1))

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        async def pieces() -> CompletionResponseAsyncGen:
            yield self.complete(prompt)

        return pieces()


def run_agent(
    tracer: Tracer,
    question: str,
    *,
    system_prompt: str,
    tools: Sequence[Callable[..., str]],
    model: str | None,
    answer: Answer,
) -> str:
    """Build the agent, ask it, return its answer. `model` None: the scripted one, which asks `answer`."""
    agent = FunctionAgent(
        name="librarian",
        tools=[FunctionTool.from_defaults(tool) for tool in tools],
        llm=_real(model) if model else ScriptedModel(answer=answer),
        system_prompt=system_prompt,
        streaming=False,
    )

    async def ask() -> str:
        with instrument_tags({"user_id": "demo", "session_id": "demo"}):
            handler = agent.run(question, max_iterations=100)
        try:
            return str(await handler)
        finally:  # in its own loop: collected later, it would complain that the loop is closed
            if (client := getattr(agent.llm, "_aclient", None)) is not None:
                await client.close()

    instrument(tracer)
    try:
        return asyncio.run(ask())
    finally:
        uninstrument()


def _real(model: str) -> LLM:
    """The model by its name; what is wrong with the name, or with the installation, as one sentence."""
    provider, _, name = model.partition(":")
    try:
        module, client = _CLIENTS[provider]
        made: LLM = getattr(import_module(module), client)(model=name)
        return made
    except Exception as error:
        why = str(error).split("\n")[0]
        raise TokentraceError(f"--model {model} cannot be used: {why}") from error


def _given(call: ToolCallBlock) -> dict[str, Any]:
    given = call.tool_kwargs
    return dict(json.loads(given) if isinstance(given, str) else given)
