"""The demo's agent, built with LangChain: a real `create_agent` with real tools.

Its model is a string such as "openai:gpt-4o-mini", which needs that client and a key, or a scripted one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from tokentrace_core import MissingExtra, TokentraceError, Tracer
from tokentrace_langchain.handler import TokentraceHandler
from tokentrace_langchain.mapping import to_message

try:
    from langchain.agents import create_agent
    from langchain.chat_models import init_chat_model
except ImportError as _error:  # recording needs langchain-core alone
    raise MissingExtra("tokentrace_langchain.demo", "langchain", "demo") from _error

#: From the conversation, in the common form, to {"content", "tool_calls", "usage"}.
Answer = Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]


class ScriptedChatModel(BaseChatModel):
    """A chat model that answers from a function, under the name (and so the price) of a real one."""

    answer: Answer
    model_name: str = "gpt-4o-mini"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(ls_provider="openai", ls_model_name=self.model_name, ls_model_type="chat")

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answer = self.answer([to_message(message) for message in messages])
        calls = list(answer.get("tool_calls", ()))
        usage = answer["usage"]
        message = AIMessage(
            content=answer.get("content", ""),
            tool_calls=calls,
            usage_metadata={
                "input_tokens": usage["input"],
                "output_tokens": usage["output"],
                "total_tokens": usage["input"] + usage["output"],
                "input_token_details": {"cache_read": usage.get("cached", 0)},
            },
            response_metadata={
                "model_name": self.model_name,
                "model_provider": "openai",
                "finish_reason": "tool_calls" if calls else "stop",
            },
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


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
    agent: Runnable[Any, Any] = create_agent(
        _real(model) if model else ScriptedChatModel(answer=answer),
        [_as_tool(tool) for tool in tools],
        system_prompt=system_prompt,
        name="librarian",
    )
    # LangChain logs every exception of a handler as a warning; the demo shows this one itself.
    logging.getLogger("langchain_core.callbacks.manager").setLevel(logging.ERROR)
    state = agent.invoke(
        {"messages": [("user", question)]},
        config={
            "callbacks": [TokentraceHandler(tracer)],
            "metadata": {"user_id": "demo", "session_id": "demo"},
            "recursion_limit": 200,
        },
    )
    return str(state["messages"][-1].text)


def _real(model: str) -> BaseChatModel:
    """The model by its name; what is wrong with the name, or with the installation, as one sentence."""
    try:
        return init_chat_model(model)
    except Exception as error:
        why = str(error).split("\n")[0]
        raise TokentraceError(f"--model {model} cannot be used: {why}") from error


def _as_tool(function: Callable[..., str]) -> StructuredTool:
    """A tool whose failure is told to the model, which then goes on, instead of ending the run."""
    tool = StructuredTool.from_function(function, handle_tool_error=True)
    call = tool.func
    assert call is not None

    def tell_failures(**arguments: Any) -> str:
        try:
            return str(call(**arguments))
        except OSError as error:
            raise ToolException(str(error)) from error

    tool.func = tell_failures
    return tool
