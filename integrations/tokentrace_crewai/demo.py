"""The demo's agent, built with CrewAI: a real `Agent` with real tools.

Its model is a string such as "openai:gpt-4o-mini", which needs that client and a key, or a scripted one.

The demo promises no network, and CrewAI by itself sends telemetry, offers traces and looks for newer versions. So
those three are switched off, in the environment of the demo's process and nowhere else; what CrewAI prints and logs
of its own accord is kept back, too. Everywhere else `tokentrace_crewai` leaves CrewAI's settings alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from crewai import LLM, Agent
from crewai.events.types.llm_events import LLMCallType
from crewai.events.utils.console_formatter import set_suppress_console_output
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import tool

from tokentrace_core import TokentraceError, Tracer
from tokentrace_crewai.handler import TokentraceListener
from tokentrace_crewai.mapping import to_message

#: From the conversation, in the common form, to {"content", "tool_calls", "usage"}.
Answer = Callable[[list[Mapping[str, Any]]], Mapping[str, Any]]

#: CrewAI reads these at every use, so it is not too late after its import.
_OFFLINE = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
}


class ScriptedLLM(BaseLLM):
    """A model that answers from a function, under the name (and so the price) of a real one.

    CrewAI leaves it to each model class to tell of its calls; this one does so as its own clients do.
    """

    answer: Any

    def supports_function_calling(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        """Of the model that it stands for: what would not fit, CrewAI puts into files or has summarised."""
        return 128_000

    def get_input_tokens_count(self, messages: Any, *_: Any, **__: Any) -> int:
        """Roughly, to see whether they fit. CrewAI's own guess logs each time that it is one."""
        return len(str(messages)) // 4

    def call(self, messages: Any, tools: Any = None, *_: Any, **who: Any) -> Any:
        asked_by = {name: who.get(name) for name in ("from_task", "from_agent")}
        sent: list[Any] = messages if isinstance(messages, list) else [{"role": "user", "content": messages}]
        with llm_call_context():
            self._emit_call_started_event(messages=sent, tools=tools, **asked_by)
            answer = self.answer([to_message(message) for message in sent])
            calls = [_as_openai_would(call) for call in answer.get("tool_calls", ())]
            response = calls or answer.get("content", "")
            usage = answer["usage"]
            self._emit_call_completed_event(
                response=response,
                call_type=LLMCallType.TOOL_CALL if calls else LLMCallType.LLM_CALL,
                usage={
                    "prompt_tokens": usage["input"],
                    "completion_tokens": usage["output"],
                    "cached_prompt_tokens": usage.get("cached", 0),
                },
                finish_reason="tool_calls" if calls else "stop",
                **asked_by,
            )
            return response

    async def acall(self, messages: Any, tools: Any = None, *rest: Any, **who: Any) -> Any:
        return self.call(messages, tools, *rest, **who)


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
    os.environ |= _OFFLINE  # not undone: the last of it is read at the process's end
    with _quiet():
        agent = Agent(
            role="librarian",
            goal="Answer questions about a folder.",
            backstory=system_prompt,
            llm=_real(model) if model else ScriptedLLM(model="gpt-4o-mini", answer=answer),
            tools=[tool(function) for function in tools],
            max_iter=200,
        )
        listener = TokentraceListener(tracer)
        try:
            with tracer.session("demo", user="demo"):
                output: Any = agent.kickoff(question)
                return str(output.raw)
        finally:
            listener.detach()


@contextmanager
def _quiet() -> Iterator[None]:
    """CrewAI prints panels and logs what it refuses and estimates; the demo shows the same itself."""
    for name in ("crewai", "crewai.llms.base_llm", "crewai.flow.runtime"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    set_suppress_console_output(True)
    try:
        yield
    finally:
        set_suppress_console_output(False)


def _real(model: str) -> Any:
    """The model by its name; what is wrong with the name, or with the installation, as one sentence."""
    try:
        return LLM(model.replace(":", "/", 1))
    except Exception as error:
        why = str(error).split("\n")[0]
        raise TokentraceError(f"--model {model} cannot be used: {why}") from error


def _as_openai_would(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": json.dumps(call["args"])}
    return {"id": call["id"], "type": "function", "function": function}
