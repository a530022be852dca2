"""Frameworks that call each other are one run: one tree, each call in it once, with the figures the server told."""

from __future__ import annotations

import pytest
from crewai.tools.base_tool import Tool as CrewTool

from tests.conformance.work import ScriptedModel
from tests.integrations.crewai.test_figures import stored_usage
from tests.integrations.mixed.conftest import Ask, Recorded
from tests.integrations.mixed.parts import (
    AGENTS,
    ORDERS,
    PRICE_NANO_USD,
    SPENT,
    Asker,
    Build,
    crew,
    expect,
    langchain_chain,
    langchain_tool,
    llama_index_engine,
    nested,
    question,
)
from tests.loopback import LoopbackServer, Turn

THREE_AGENTS = """\
run success $0.001134 -> first says wet
  step 1 of first: success
    llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
    tool ask_second{"question": "Say to second for all: is May wet?"} success -> second says wet
      step 1 of second: success
        llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
        tool ask_third{"question": "Say to third for all: is May wet?"} success -> third says wet
          step 1 of third: success
            llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
            tool ask_end{"question": "Say to end for all: is May wet?"} success -> wet for all
              step 1 of ask_end: success
                llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
          step 2 of third: success
            llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
      step 2 of second: success
        llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
  step 2 of first: success
    llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
"""
#: What the tool does before it asks a model belongs to the step that asked for the tool.
ENGINE = """\
  step 1 of first: success
    llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
    embedding None/unknown success estimated
    retrieval VectorIndexRetriever
    tool ask_end{"question": "Say to end for all: is May wet?"} success -> wet for all
      step 1 of ask_end: success
        llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
"""
BOTH = """\
      step 1 of ask_end: success
        llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
        embedding None/unknown success estimated
        retrieval VectorIndexRetriever
      step 2 of ask_end: success
        llm openai/gpt-4o-mini success input=1000 output=20 $0.000162
"""


def same_figures(server: LoopbackServer, recorded: Recorded) -> None:
    """Each request is one call of the one run, with the tokens and the cost of what the server has told."""
    reader = recorded.reader()
    [run] = reader.runs()
    sent = [call for call in reader.llm_calls(run["id"]) if call["kind"] != "embedding"]
    assert len(sent) == server.count
    assert len({call["response_id"] for call in sent}) == server.count
    assert stored_usage(sent) == server.reported
    assert run["cost_nano_usd"] == sum(call["cost_nano_usd"] for call in sent) == len(sent) * PRICE_NANO_USD


@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
def test_agents_of_three_frameworks_in_each_others_tools_are_the_same_tree_in_any_order(
    server: LoopbackServer, model: ScriptedModel, ask: Ask, recorded: Recorded, order: tuple[str, ...]
) -> None:
    """Else a part of the bill stands in a run that nobody connects with the question."""
    expect(model, 3)
    asker = nested(server, [AGENTS[name] for name in order], langchain_chain(server))
    assert ask(asker, question("first")) == "first says wet"
    assert recorded.tree() == THREE_AGENTS
    [run] = recorded.reader().runs()
    assert run["framework"] == order[0]
    same_figures(server, recorded)


@pytest.mark.parametrize("build", AGENTS.values(), ids=AGENTS)
def test_a_query_engine_in_a_tool_hangs_below_the_tool_whoever_calls_it(
    server: LoopbackServer, model: ScriptedModel, ask: Ask, recorded: Recorded, build: Build
) -> None:
    """Else what retrieval costs is not seen where it is asked for."""
    expect(model, 1)
    ask(nested(server, [build], llama_index_engine(server)), question("first"))
    assert ENGINE in recorded.shape()
    same_figures(server, recorded)


def test_a_langchain_tool_that_a_crew_uses_is_one_tool_call_with_the_query_engine_below(
    server: LoopbackServer, model: ScriptedModel, ask: Ask, recorded: Recorded
) -> None:
    """Else tools that come from LangChain are counted twice, or not at all."""
    expect(model, 1)
    engine = llama_index_engine(server)
    tool = CrewTool.from_langchain(langchain_tool("end", engine))
    ask(crew(server, "first", "end", engine, tools=[tool]), question("first"))
    assert recorded.shape().count("tool ask_end") == 1
    assert ENGINE in recorded.shape()
    same_figures(server, recorded)


def test_a_tool_that_asks_two_frameworks_one_after_the_other_has_both_below_it(
    server: LoopbackServer, model: ScriptedModel, ask: Ask, recorded: Recorded
) -> None:
    """Else the second one's cost belongs to nobody."""
    expect(model, 1)
    model.expect("Said twice?", Turn("no doubt", usage=SPENT))
    engine, chain = llama_index_engine(server), langchain_chain(server)

    def ask_both(asked: str) -> str:
        chain.ask("Said twice?")
        return engine.ask(asked)

    async def ask_both_async(asked: str) -> str:
        await chain.ask_async("Said twice?")
        return await engine.ask_async(asked)

    ask(crew(server, "first", "end", Asker(ask_both, ask_both_async)), question("first"))
    assert BOTH in recorded.shape()
    same_figures(server, recorded)
