"""What CrewAI tells in more than one way: tool calls of each provider, tools that fail politely, broken replies."""

from __future__ import annotations

from typing import Any

import pytest
from crewai.events.types.llm_events import LLMCallType
from crewai.flow.flow import Flow, listen, start
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import tool
from crewai.tools.tool_failure import ToolFailure
from openai import BadRequestError, LengthFinishReasonError
from pydantic import BaseModel

from tests.integrations.crewai.conftest import LastTree, Stored
from tests.integrations.crewai.crews import WIRES, adding, crew, llm
from tests.integrations.crewai.test_figures import all_calls, stored_usage
from tests.loopback import LoopbackServer, Turn

SUM = {"name": "add", "arguments": {"a": 1, "b": 2}}
#: As CrewAI's clients for Bedrock and for Gemini tell them, whose SDKs are not here.
ELSEWHERE = {
    "bedrock": {"toolUseId": "c1", "name": "add", "input": {"a": 1, "b": 2}},
    "gemini": {"text": None, "function_call": {"id": "c1", "name": "add", "args": {"a": 1, "b": 2}}},
}


class Number(BaseModel):
    n: int


class Telling(BaseLLM):
    """A client of another provider: it tells its answer in that provider's own form."""

    answer: Any

    def call(self, messages: Any, *_: Any, **__: Any) -> Any:
        with llm_call_context():
            self._emit_call_started_event(messages=messages)
            told = {"response": self.answer, "call_type": LLMCallType.TOOL_CALL}
            self._emit_call_completed_event(from_task=None, from_agent=None, messages=messages, **told)
            return self.answer


def asked_for(stored: Stored) -> list[Any]:
    """The tool calls in the first answer."""
    reader = stored()
    return list(reader.message(all_calls(stored)[0]["output_id"])["tool_calls"])


@pytest.mark.parametrize("wire", WIRES)
def test_a_tool_call_reads_the_same_whoever_made_it(
    server: LoopbackServer, stored: Stored, wire: str
) -> None:
    server.script(adding(1, 2), Turn("three"))
    crew(server, llm=llm(server, wire)).kickoff()
    [asked] = asked_for(stored)
    assert {"name": asked["name"], "arguments": asked["arguments"]} == SUM
    [run] = stored().runs()
    [used] = stored().tool_calls(run["id"])
    assert used["tool_call_id"] == asked["id"] is not None


@pytest.mark.parametrize("provider", ELSEWHERE)
def test_a_tool_call_of_a_provider_elsewhere_reads_the_same(stored: Stored, provider: str) -> None:
    Telling(model="gpt-4o-mini", answer=[ELSEWHERE[provider]]).call("Hi")
    assert asked_for(stored) == [{"id": "c1", **SUM}]


def test_a_tool_that_reports_its_failure_has_failed(server: LoopbackServer, last_tree: LastTree) -> None:
    @tool
    def look(shelf: str) -> Any:
        """Look at a shelf."""
        return ToolFailure(message="too dark")

    @tool
    def add(a: int, b: int) -> Any:
        """Add two numbers."""
        return ToolFailure(message="out of numbers")

    server.script(adding(1, 2), Turn("no idea"))
    crew(server, tools=[look, add]).kickoff()
    assert 'tool add{"a":1,"b":2} failure (ToolError)' in last_tree()


def test_a_tool_whose_result_was_remembered_says_so(
    server: LoopbackServer, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = llm(server)  # of tools that a model asks for as such, CrewAI does not tell it
    monkeypatch.setattr(type(model), "supports_function_calling", lambda self: False)
    asking = [f'Thought: I add.\nAction: add\nAction Input: {{"a": 1, "b": {b}}}' for b in (2, 3, 2)]
    server.script(*map(Turn, asking), Turn("Thought: I know.\nFinal Answer: 3"))
    crew(server, llm=model, cache=True).kickoff()
    [run] = stored().runs()
    remembered = ["from_cache" in (call["attributes"] or "") for call in stored().tool_calls(run["id"])]
    assert remembered == [False, False, True]


def test_an_answer_cut_off_in_the_middle_is_billed_as_the_provider_told(
    server: LoopbackServer, stored: Stored
) -> None:
    server.script(Turn('{"n":', finish="length"))
    with pytest.raises(LengthFinishReasonError):
        llm(server).call("Hi", response_model=Number)
    [call] = all_calls(stored)
    assert (call["status"], call["usage_source"]) == ("failure", "reported")
    assert stored_usage([call]) == server.reported


def test_after_calls_that_failed_a_flow_still_knows_where_it_is(
    server: LoopbackServer, last_tree: LastTree
) -> None:
    class Morning(Flow[Any]):
        @start()
        def open_up(self) -> None:
            for _ in range(3):  # each ends twice: CrewAI believes that the flow is over, too
                with pytest.raises(BadRequestError):
                    llm(server).call("Hi")

        @listen(open_up)
        def tell(self) -> Any:
            return llm(server).call("Hi")

    server.script(*[Turn(status=400)] * 3, Turn("ten"))
    assert Morning().kickoff() == "ten"
    assert "step Morning 4 tell success" in last_tree()
