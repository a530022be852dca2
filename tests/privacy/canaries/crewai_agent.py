"""CrewAI's crews at work, with a canary in every place that takes a text."""

from __future__ import annotations

import json
from typing import Any

import openai
from crewai import Agent, Crew, Task
from crewai.events import crewai_event_bus
from crewai.flow.flow import Flow, start
from crewai.tools import tool
from pydantic import create_model

import tokentrace_crewai
from tests.integrations.crewai.crews import llm
from tests.loopback import ToolCall, Turn
from tests.privacy.canaries.bench import Bench, break_down

#: Heard, and not kept at all.
NOT_KEPT = {
    "answer with tool calls",  # CrewAI tells the calls only
    "context of an error",  # it has a cause
    "model that answered",
    "name of a task of a stopped crew",  # no step begins in it
    "name of a task of a crew that fails",
    "note of an error",
    "parameter",
    "reasoning",
    "schema of an answer",
    "user in a request",
}


def work(bench: Bench) -> None:
    tokentrace_crewai.instrument(bench.tracer)
    try:
        _a_crew(bench)
        _a_model_in_a_flow(bench)
        _failures(bench)
        crewai_event_bus.flush()
    finally:
        tokentrace_crewai.uninstrument()


def _whose(bench: Bench, whose: str) -> dict[str, Any]:
    cage = bench.cage
    return {
        "user_id": cage.at(f"user of {whose}"),
        "session_id": cage.at(f"session of {whose}"),
        "note": cage.said_at(f"input of {whose}"),
        **cage.named_at(f"input of {whose}"),
    }


def _model(bench: Bench, **more: Any) -> Any:
    asked = {"stop": [bench.cage.at("parameter")], "user": bench.cage.at("user in a request")}
    return llm(bench.server, max_retries=0, stream=bench.style == "stream", **asked, **more)


def _agent(bench: Bench, whose: str, **more: Any) -> Agent:
    cage = bench.cage
    return Agent(
        role=cage.at(f"role of {whose}"),
        goal=cage.said_at(f"goal of {whose}"),
        backstory=cage.said_at(f"backstory of {whose}"),
        max_retry_limit=0,
        max_iter=10,
        **({"llm": _model(bench)} | more),
    )


def _kick_off(bench: Bench, crew: Crew, inputs: dict[str, Any]) -> None:
    if bench.style == "sync":
        crew.kickoff(inputs=inputs)
    elif bench.style == "async":
        bench.wait(crew.akickoff(inputs=inputs))
    else:
        bench.wait(_streamed(crew, inputs))


async def _streamed(crew: Crew, inputs: dict[str, Any]) -> None:
    async with await crew.akickoff(inputs=inputs) as pieces:
        async for _ in pieces:
            pass


def _crew(bench: Bench, agent: Agent, whose: str, **more: Any) -> Crew:
    cage = bench.cage
    task = Task(
        name=cage.at(f"name of a task of {whose}"),
        description=cage.said_at(f"task of {whose}").replace("{", "{{").replace("}", "}}"),
        expected_output=cage.said_at(f"output expected of {whose}").replace("{", "{{").replace("}", "}}"),
        agent=agent,
        **more,
    )
    return Crew(
        agents=[agent], tasks=[task], name=cage.at(f"name of {whose}"), stream=bench.style == "stream"
    )


def _a_crew(bench: Bench) -> None:
    cage = bench.cage
    helper = _agent(bench, "a nested agent")

    @tool("look_up")
    def look_up(query: str, client_secret: str = "") -> dict[str, Any]:
        """Look up."""
        return {"found": cage.said_at("tool result"), **cage.named_at("tool result")}

    @tool("fail")
    def fail(query: str) -> str:
        """Fail."""
        break_down(cage)
        return ""

    @tool("ask")
    def ask(question: str) -> str:
        """Ask another agent."""
        return str(helper.kickoff(question).raw)

    look_up.description = cage.said_at("description of a tool")
    first = (
        ToolCall(
            "look_up",
            {"query": cage.said_at("tool arguments"), **cage.named_at("tool arguments")},
            cage.at("tool call id"),
        ),
        ToolCall("fail", {"query": cage.said_at("arguments of a tool that fails")}),
        ToolCall("ask", {"question": cage.said_at("question to a nested agent")}),
    )
    bench.server.answer_with(
        _answers(
            [
                Turn(tool_calls=first, **bench.turn_of_secrets("answer with tool calls")),
                Turn(**bench.turn_of_secrets("answer")),
            ],
            Turn(cage.said_at("answer of a nested agent")),
        )
    )
    agent = _agent(bench, "an agent", tools=[look_up, fail, ask])
    _kick_off(bench, _crew(bench, agent, "a crew"), _whose(bench, "a crew"))
    assert bench.server.count >= 3


def _answers(turns: list[Turn], helper: Turn) -> Any:
    def answer(body: dict[str, Any]) -> Turn:
        if not body.get("tools"):
            return helper
        return turns.pop(0) if len(turns) > 1 else turns[0]

    return answer


def _a_model_in_a_flow(bench: Bench) -> None:
    cage = bench.cage
    bench.server.reset()
    bench.server.script(
        Turn(cage.said_at("answer after thinking"), thinking=cage.said_at("reasoning")),
        Turn(json.dumps({"name": cage.at("structured answer")})),
    )
    shape: Any = create_model("Customer", __doc__=cage.said_at("schema of an answer"), name=(str, ...))
    asked = [
        {"role": "system", "content": cage.said_at("system message")},
        {"role": "user", "content": [{"type": "text", "text": cage.said_at("part of a prompt")}]},
    ]

    class Asking(Flow[Any]):
        @start()
        def ask(self) -> Any:
            llm(bench.server, "anthropic").call(asked)
            return _model(bench, response_format=shape).call(cage.said_at("prompt as a text"))

    flow = Asking(name=cage.at("name of a flow"))
    inputs = _whose(bench, "a flow")
    if bench.style == "sync":
        flow.kickoff(inputs=inputs)
    else:
        bench.wait(flow.kickoff_async(inputs=inputs))


def _failures(bench: Bench) -> None:
    cage = bench.cage
    for status in (400, 500):
        bench.server.reset()
        bench.server.script(Turn(status=status, error_message=cage.said_at(f"error {status} of a provider")))
        with bench.outlets.raising(openai.APIStatusError):
            _kick_off(
                bench,
                _crew(bench, _agent(bench, "an agent that fails"), "a crew that fails"),
                _whose(bench, "a failure"),
            )
    bench.server.reset()
    bench.server.script_loop(Turn("x" * 400))
    inputs = _whose(bench, "a stop")
    dear = llm(bench.server, model="openai/dear", max_retries=0, stream=bench.style == "stream")
    for _ in range(2):
        with bench.outlets.raising():
            _kick_off(
                bench, _crew(bench, _agent(bench, "a stopped agent", llm=dear), "a stopped crew"), inputs
            )
