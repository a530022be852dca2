"""LlamaIndex's agent, engines and models at work, with a canary in every place that takes a text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import openai
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index_instrumentation.dispatcher import instrument_tags
from pydantic import create_model

import tokentrace_llama_index
from tests.conformance.llama_index_driver import TOLD, AnyOpenAI
from tests.integrations.llama_index.agents import asking
from tests.integrations.llama_index.agents import model as client
from tests.loopback import ToolCall, Turn
from tests.privacy.canaries.bench import Bench, break_down

#: Heard, and not kept at all.
NOT_KEPT = {
    "address of an image",  # an object that only says what it is
    "broken stream",  # until a piece of it has come
    "cause of an error",  # LlamaIndex tells the error's own text
    "description of an agent",
    "key in a request",
    "metadata in a request",
    "user in a request",
    "context of an error",  # it has a cause
    "note of an error",
}


def work(bench: Bench) -> None:
    tokentrace_llama_index.instrument(bench.tracer)
    try:
        _an_agent(bench)
        _models(bench)
        _an_engine(bench)
        _failures(bench)
    finally:
        tokentrace_llama_index.uninstrument()


def _whose(bench: Bench, whose: str) -> Any:
    cage = bench.cage
    return instrument_tags(
        {
            "user_id": cage.at(f"user of {whose}"),
            "session_id": cage.at(f"session of {whose}"),
            cage.at(f"metadata's key of {whose}"): cage.said_at(f"metadata of {whose}"),
            **cage.named_at(f"metadata of {whose}"),
        }
    )


def _model(bench: Bench, name: str = "gpt-4o-mini") -> Any:
    cage = bench.cage
    asked = {
        "user": cage.at("user in a request"),
        "stop": [cage.at("parameter")],
        "metadata": {cage.at("key in a request"): cage.at("metadata in a request")},
    }
    told = TOLD if bench.style == "stream" else {}
    return AnyOpenAI(
        name, api_base=bench.server.openai_url, api_key="test", max_retries=0, additional_kwargs=asked | told
    )


def _run(bench: Bench, agent: FunctionAgent, whose: str, asked: Any, **more: Any) -> None:
    async def run() -> None:
        with _whose(bench, whose):
            handler = agent.run(asked, max_iterations=20, **more)
        if bench.style == "stream":
            async for _ in handler.stream_events():
                pass
        await handler

    bench.wait(run())


def _an_agent(bench: Bench) -> None:
    cage = bench.cage

    def look_up(query: str, client_secret: str = "") -> dict[str, Any]:
        return {"found": cage.said_at("tool result"), **cage.named_at("tool result")}

    def fail(query: str) -> str:
        break_down(cage)
        return ""

    tool = FunctionTool.from_defaults(
        look_up, name=cage.named_tool_at("tool name"), description=cage.said_at("description of a tool")
    )
    helper = FunctionAgent(
        name=cage.at("name of a nested agent"), llm=_model(bench), streaming=bench.style == "stream"
    )
    agent = FunctionAgent(
        name=cage.at("agent's name"),
        description=cage.said_at("description of an agent"),
        system_prompt=cage.said_at("system prompt"),
        tools=[tool, FunctionTool.from_defaults(fail), asking(helper)],
        llm=_model(bench),
        streaming=bench.style == "stream",
    )
    first = (
        ToolCall(
            str(tool.metadata.name),
            {"query": cage.said_at("tool arguments"), **cage.named_at("tool arguments")},
            cage.at("tool call id"),
        ),
        ToolCall("fail", {"query": cage.said_at("arguments of a tool that fails")}),
    )
    bench.server.script(
        Turn(tool_calls=first, **bench.turn_of_secrets("answer with tool calls")),
        Turn(tool_calls=(ToolCall("ask", {"question": cage.said_at("question to a nested agent")}),)),
        Turn(cage.said_at("answer of a nested agent")),
        Turn(**bench.turn_of_secrets("answer")),
    )
    history = [
        ChatMessage(cage.said_at("earlier question")),
        ChatMessage(cage.said_at("history"), role="assistant"),
    ]
    asked = [
        TextBlock(text=cage.said_at("part of a prompt")),
        ImageBlock(url=f"https://example.com/{quote(cage.at('address of an image'))}"),
    ]
    _run(bench, agent, "an agent", ChatMessage(blocks=asked), chat_history=history)
    assert bench.server.count == 4


def _models(bench: Bench) -> None:
    cage = bench.cage
    bench.server.reset()
    bench.server.script(
        Turn(cage.said_at("answer after thinking"), thinking=cage.said_at("reasoning")),
        Turn(cage.said_at("completion")),
        Turn(json.dumps({"name": cage.at("structured answer")})),
    )
    model = _model(bench)
    with _whose(bench, "a model"):
        asked = [
            ChatMessage(cage.said_at("system message"), role="system"),
            ChatMessage(cage.said_at("question")),
        ]
        _in_style(bench, client(bench.server, "anthropic"), "chat", asked)
        _in_style(bench, model, "complete", cage.said_at("prompt as a text"))
        shape: Any = create_model("Customer", __doc__=cage.said_at("schema of an answer"), name=(str, ...))
        model.structured_predict(
            shape, PromptTemplate("Who? {hint}"), hint=cage.said_at("variable of a template")
        )


def _in_style(bench: Bench, model: Any, way: str, asked: Any) -> None:
    """`chat` or `complete`, in this style."""
    ways: dict[str, Callable[[], Any]] = {
        "sync": lambda: getattr(model, way)(asked),
        "async": lambda: bench.wait(getattr(model, f"a{way}")(asked)),
        "stream": lambda: list(getattr(model, f"stream_{way}")(asked)),
    }
    ways[bench.style]()


def _an_engine(bench: Bench) -> None:
    cage = bench.cage
    bench.server.reset()
    bench.server.script(Turn(cage.said_at("answer of an engine")))
    with _whose(bench, "an engine"):
        page = Document(
            text=cage.said_at("document"),
            metadata={cage.at("key of a document"): cage.at("metadata of a document")},
        )
        index = VectorStoreIndex.from_documents([page], embed_model=MockEmbedding(8))
        engine = index.as_query_engine(llm=_model(bench))
        asked = cage.said_at("query")
        if bench.style == "sync":
            engine.query(asked)
        else:
            bench.wait(engine.aquery(asked))


def _failures(bench: Bench) -> None:
    cage = bench.cage
    for status in (400, 500):
        bench.server.reset()
        bench.server.script(Turn(status=status, error_message=cage.said_at(f"error {status} of a provider")))
        with bench.outlets.raising(openai.APIError):
            _run(
                bench,
                FunctionAgent(llm=_model(bench), streaming=False),
                "a failure",
                cage.said_at("question of a failure"),
            )
    bench.server.reset()
    bench.server.script(Turn(cage.said_at("broken stream"), abort_after=4))
    with bench.outlets.raising(Exception), _whose(bench, "a broken stream"):
        list(client(bench.server).stream_chat([ChatMessage(cage.said_at("question before a broken stream"))]))
    bench.server.reset()
    bench.server.script_loop(Turn("x", model="dear"))
    user = cage.at("user of a stop")
    for _ in range(2):
        agent = FunctionAgent(
            name=cage.at("name of a stopped agent"), llm=_model(bench, "dear"), streaming=False
        )
        with bench.outlets.raising(), bench.tracer.session(cage.at("session of a stop"), user=user):
            bench.wait(_asked(agent, cage.said_at("question before a stop")))


async def _asked(agent: FunctionAgent, question: str) -> None:
    await agent.run(question)
