"""One request is one call in the record, however many of a client's methods report it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import ReActAgent
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.llms.callbacks import llm_completion_callback
from openai import OpenAI

from tests.integrations.conftest import LastRun
from tests.integrations.llama_index.agents import QUESTION, add, answer, model
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.llama_index.test_figures import STYLES
from tests.loopback import LoopbackServer, Turn
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader


class OwnModel(CustomLLM):
    """A model of somebody's own: it completes, and LlamaIndex makes the seven other methods of that."""

    url: str

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="gpt-4o-mini")

    def _ask(self, prompt: str, **more: Any) -> Any:
        client, messages = OpenAI(base_url=self.url, api_key="test"), [{"role": "user", "content": prompt}]
        return client.chat.completions.create(model="gpt-4o-mini", messages=messages, **more)  # type: ignore[call-overload]

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        reply = self._ask(prompt)
        return CompletionResponse(text=reply.choices[0].message.content, raw=reply)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Iterator[CompletionResponse]:
        def pieces() -> Iterator[CompletionResponse]:
            text = ""
            for chunk in self._ask(prompt, stream=True, stream_options={"include_usage": True}):
                delta = (chunk.choices[0].delta.content if chunk.choices else None) or ""
                text += delta
                yield CompletionResponse(text=text, delta=delta, raw=chunk)

        return pieces()


@pytest.mark.parametrize("style", STYLES)
def test_p5_a_model_whose_methods_ask_each_other(
    wait: Wait, server: LoopbackServer, last_run: LastRun, tracer: Tracer, style: str
) -> None:
    server.script(Turn("It will."))
    STYLES[style](wait, OwnModel(url=server.openai_url))
    run, [call] = last_run()
    assert server.count == run["llm_calls"] == 1
    assert (call["usage_source"], call["input_uncached_tokens"], run["name"]) == ("reported", 100, "OwnModel")
    assert run["output"] == "It will."
    assert not tracer.recorder._early_ends


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_p5_an_agent_on_such_a_model(
    wait: Wait, server: LoopbackServer, last_tree: Callable[[], str], streaming: bool
) -> None:
    server.script(
        Turn('Thought: sum\nAction: add\nAction Input: {"a": 1, "b": 2}'), Turn("Thought: so.\nAnswer: three")
    )
    llm = OwnModel(url=server.openai_url)
    assert wait(answer(ReActAgent(name="agent", tools=[add], llm=llm, streaming=streaming))) == "three"
    assert server.count == 2
    assert [line for line in last_tree().splitlines() if "completion" in line] == [
        "    completion gpt-4o-mini success"
    ] * 2


@pytest.mark.parametrize("wire", ["chat", "anthropic"])
def test_one_model_asked_many_times_at_once_is_asked_so_often(
    wait: Wait, server: LoopbackServer, tracer: Tracer, stored: Callable[[], Reader], wire: str
) -> None:
    llm = model(server, wire)

    async def ask_all() -> None:
        with tracer.run("many"):
            await asyncio.gather(*[llm.achat(QUESTION) for _ in range(8)])
            await asyncio.gather(*[llm.acomplete("Will it rain?") for _ in range(8)])

    server.answer_with(lambda body: Turn("It will.", delay=0.02))
    wait(ask_all())
    assert stored().run("last")["llm_calls"] == server.count == 16


def test_a_call_that_the_client_tries_again_is_one_call(server: LoopbackServer, last_run: LastRun) -> None:
    server.script(
        Turn(status=500, headers={"retry-after-ms": "1"}),
        Turn(status=429, headers={"retry-after-ms": "1"}),
        Turn("It will."),
    )
    model(server, max_retries=3).chat(QUESTION)
    run, [call] = last_run()
    assert (server.count, server.answered, run["llm_calls"], call["status"]) == (3, 1, 1, "success")
    assert call["input_uncached_tokens"] == server.reported.input
