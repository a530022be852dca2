"""LangChain's agent at work, with a canary in every place that takes a text."""

from __future__ import annotations

import json
from typing import Any

import openai
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool

from tests.conformance.langchain_driver import TELL_FAILURES
from tests.integrations.langchain.agents import asking
from tests.integrations.langchain.driving import Driver
from tests.loopback import ToolCall, Turn
from tests.loopback.clients import chat_anthropic, chat_openai
from tests.privacy.canaries.bench import Bench, break_down
from tokentrace_langchain import TokentraceHandler

STYLES = {"sync": "invoke", "async": "ainvoke", "stream": "astream"}


#: Heard, and not kept at all.
NOT_KEPT = {
    "agent's name",  # a run has the name that its config gives it
    "broken stream",  # LangChain does not tell what had arrived
    "context of an error",  # it has a cause
    "metadata in a request",
    "name of a stopped agent",
    "note of an error",
    "user in a request",
}


def work(bench: Bench) -> None:
    handler = TokentraceHandler(bench.tracer)
    _an_agent(bench, handler)
    _models(bench, handler)
    _failures(bench, handler)
    bench.outlets.look_at(handler)


def _call(bench: Bench, runnable: Any, inputs: Any, config: Any) -> None:
    Driver(STYLES[bench.style], bench.runner)(runnable, inputs, config)


def _config(bench: Bench, handler: TokentraceHandler, whose: str) -> dict[str, Any]:
    cage = bench.cage
    return {
        "callbacks": [handler],
        "run_name": cage.at(f"run name of {whose}"),
        "tags": [cage.at(f"tag of {whose}")],
        "metadata": {
            "user_id": cage.at(f"user of {whose}"),
            "session_id": cage.at(f"session of {whose}"),
            cage.at(f"metadata's key of {whose}"): cage.said_at(f"metadata of {whose}"),
            **cage.named_at(f"metadata of {whose}"),
        },
    }


def _model(bench: Bench, **settings: Any) -> Any:
    cage = bench.cage
    return chat_openai(
        bench.server,
        stream_usage=True,
        max_retries=0,
        stop_sequences=[cage.at("parameter")],
        model_kwargs={
            "user": cage.at("user in a request"),
            "metadata": {"k": cage.at("metadata in a request")},
        },
        default_headers={"X-Customer": "x"},
        **settings,
    )


def _tools(bench: Bench) -> list[Any]:
    cage = bench.cage

    def look_up(query: str, client_secret: str = "") -> dict[str, Any]:
        return {"found": cage.said_at("tool result"), **cage.named_at("tool result")}

    def fail(query: str) -> str:
        break_down(cage)
        return ""

    class Library(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [
                Document(
                    cage.said_at("document"),
                    metadata={cage.at("key of a document"): cage.at("metadata of a document")},
                )
            ]

    def search(query: str) -> str:
        return "\n".join(found.page_content for found in Library().invoke(query))

    described = [
        (look_up, cage.named_tool_at("tool name"), cage.said_at("description of a tool")),
        (fail, "fail", "Fails."),
        (search, "search", "Searches."),
    ]
    return [StructuredTool.from_function(run, name=name, description=told) for run, name, told in described]


def _an_agent(bench: Bench, handler: TokentraceHandler) -> None:
    cage, tools = bench.cage, _tools(bench)
    helper = create_agent(_model(bench), name=cage.at("name of a nested agent"))
    agent = create_agent(
        _model(bench),
        [*tools, asking(helper)],
        system_prompt=cage.said_at("system prompt"),
        name=cage.at("agent's name"),
        middleware=[TELL_FAILURES],
    )
    first = (
        ToolCall(
            tools[0].name,
            {"query": cage.said_at("tool arguments"), **cage.named_at("tool arguments")},
            cage.at("tool call id"),
        ),
        ToolCall("fail", {"query": cage.said_at("arguments of a tool that fails")}),
        ToolCall("search", {"query": cage.said_at("query")}),
    )
    bench.server.script(
        Turn(tool_calls=first, **bench.turn_of_secrets("answer with tool calls")),
        Turn(tool_calls=(ToolCall("ask", {"question": cage.said_at("question to a nested agent")}),)),
        Turn(cage.said_at("answer of a nested agent")),
        Turn(**bench.turn_of_secrets("answer")),
    )
    asked = [
        HumanMessage(cage.said_at("earlier question"), name=cage.at("name of who speaks")),
        AIMessage(
            cage.said_at("history"),
            tool_calls=[
                {
                    "id": cage.at("id in history"),
                    "name": "search",
                    "args": {"query": cage.said_at("arguments in history")},
                }
            ],
        ),
        ToolMessage(cage.said_at("tool result in history"), tool_call_id="t1"),
        HumanMessage(
            [
                {"type": "text", "text": cage.said_at("part of a prompt")},
                {
                    "type": "image_url",
                    "image_url": {"url": f"https://example.com/?q={cage.at('address of an image')}"},
                },
            ]
        ),
    ]
    _call(bench, agent, {"messages": asked}, _config(bench, handler, "an agent"))
    assert bench.server.count == 4


def _models(bench: Bench, handler: TokentraceHandler) -> None:
    cage, config = bench.cage, _config(bench, handler, "a model")
    bench.server.reset()
    bench.server.script(
        Turn(cage.said_at("answer after thinking"), thinking=cage.said_at("reasoning")),
        Turn(json.dumps({"name": cage.at("structured answer")})),
    )
    _call(
        bench,
        chat_anthropic(bench.server),
        [SystemMessage(cage.said_at("system message")), HumanMessage(cage.said_at("question"))],
        config,
    )
    schema = {
        "title": "Customer",
        "description": cage.said_at("schema of an answer"),
        "type": "object",
        "properties": {"name": {"type": "string"}},
    }
    _call(bench, _model(bench).with_structured_output(schema), cage.said_at("prompt as a text"), config)


def _failures(bench: Bench, handler: TokentraceHandler) -> None:
    cage = bench.cage
    for status in (400, 500):
        bench.server.reset()
        bench.server.script(Turn(status=status, error_message=cage.said_at(f"error {status} of a provider")))
        with bench.outlets.raising(openai.APIStatusError):
            _call(
                bench,
                create_agent(_model(bench)),
                {"messages": [("user", "go")]},
                _config(bench, handler, "a failure"),
            )
    bench.server.reset()
    bench.server.script(Turn(cage.said_at("broken stream"), abort_after=3))
    with bench.outlets.raising(openai.APIConnectionError, Exception):
        _call(
            bench,
            _model(bench),
            cage.said_at("question before a broken stream"),
            _config(bench, handler, "a broken stream"),
        )
    bench.server.reset()
    bench.server.script_loop(Turn("x", model="dear"))
    config = _config(bench, handler, "a stop")
    dear = chat_openai(bench.server, stream_usage=True).model_copy(update={"model_name": "dear"})
    for _ in range(2):
        with bench.outlets.raising():
            _call(
                bench,
                create_agent(dear, name=cage.at("name of a stopped agent")),
                {"messages": [("user", cage.said_at("question before a stop"))]},
                config,
            )
