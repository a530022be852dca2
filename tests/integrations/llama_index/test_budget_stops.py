"""A budget holds: after the stop no request leaves the process, however the agent is built and its model asked.

Every test scripts more turns than the budget pays for and counts the requests that the server really got.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.agent.workflow import AgentWorkflow, ReActAgent
from llama_index.core.callbacks import CallbackManager
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import LLM

import tokentrace_llama_index
from tests.integrations.llama_index.agents import (
    add,
    agent,
    answer,
    asking,
    library,
    model,
    reasoning_to_add,
    team,
)
from tests.integrations.llama_index.conftest import Wait
from tests.integrations.llama_index.test_figures import STYLES
from tests.integrations.turns import adding
from tests.loopback import LoopbackServer, ToolCall, Turn, TurnUsage
from tokentrace_core import Budget, BudgetExceeded, PriceBook, Tracer, Usage
from tokentrace_core.store.reader import Reader, Row
from tokentrace_llama_index import TokentraceHandler

USAGE = TurnUsage(1000, 200)
PRICE = PriceBook().cost("gpt-4o-mini", Usage(input_uncached_tokens=1000, output_tokens=200))
ENOUGH = 12

AGENTS: dict[str, Callable[[LoopbackServer], Any]] = {
    "agent": lambda server: agent(server, add, streaming=False),
    "streaming agent": lambda server: agent(server, add),
    "reasoning agent": lambda server: ReActAgent(tools=[add], llm=model(server), streaming=False),
    "streaming reasoning agent": lambda server: ReActAgent(tools=[add], llm=model(server)),
    "workflow": lambda server: AgentWorkflow([agent(server, add, streaming=False)]),
    "streaming workflow": lambda server: AgentWorkflow([agent(server, add)]),
}


@pytest.fixture
def budget() -> Budget:
    """Two calls' worth."""
    assert PRICE is not None
    return Budget(run_usd=2 * PRICE)


@pytest.fixture
def looping(server: LoopbackServer, request: pytest.FixtureRequest) -> LoopbackServer:
    """A model that asks for one more tool call, again and again, in the words of its agent."""
    turn = reasoning_to_add(USAGE) if "reasoning" in request.node.name else adding(1, 2, usage=USAGE)
    server.script(*[turn] * ENOUGH)
    return server


@pytest.fixture
def stopped_run(stored: Callable[[], Reader], server: LoopbackServer, tracer: Tracer) -> Callable[..., Row]:
    """The latest run, after checking that it says what a stopped run must say."""

    def check(calls: int = 2) -> Row:
        reader = stored()
        run = reader.run("last")
        assert server.count == calls
        assert (run["status"], run["error_type"]) == ("failure", "budget_exceeded")
        assert "of $" in run["error"]
        assert run["llm_calls"] == calls
        assert run["refused_calls"] == 1
        assert [row["status"] for row in reader.llm_calls(run["id"])].count("refused") == 1
        assert tracer.recorder.open_parts == 0
        return run

    return check


@pytest.mark.parametrize("build", AGENTS.values(), ids=AGENTS)
def test_p11_two_calls_worth_buys_exactly_two_requests(
    wait: Wait, looping: LoopbackServer, stopped_run: Callable[..., Row], build: Callable[..., Any]
) -> None:
    with pytest.raises(BudgetExceeded) as stop:
        wait(answer(build(looping)))
    assert stop.value.limit == 2 * Decimal(str(PRICE))
    assert stopped_run()["steps"] == 2


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_p11_an_agent_inside_a_tool_spends_from_the_same_budget(
    wait: Wait, server: LoopbackServer, stopped_run: Callable[..., Row], streaming: bool
) -> None:
    asks = Turn(tool_calls=(ToolCall("ask", {"question": "how many?"}),), usage=USAGE)
    server.script(asks, *[adding(1, 2, usage=USAGE)] * ENOUGH)
    inner = agent(server, add, name="inner", streaming=streaming)
    with pytest.raises(BudgetExceeded):
        wait(answer(agent(server, asking(inner), name="outer", streaming=streaming)))
    assert stopped_run()["name"] == "outer"


def test_p11_the_agent_that_work_is_handed_to_spends_from_the_same_budget(
    wait: Wait, server: LoopbackServer, stopped_run: Callable[..., Row]
) -> None:
    hand_off = Turn(tool_calls=(ToolCall("handoff", {"to_agent": "adder", "reason": "sums"}),), usage=USAGE)
    server.script(hand_off, *[adding(1, 2, usage=USAGE)] * ENOUGH)
    with pytest.raises(BudgetExceeded):
        wait(answer(team(server)))
    stopped_run()


def test_p11_code_that_swallows_the_stop_gets_no_further_call(
    wait: Wait, looping: LoopbackServer, tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    llm, swallowed = model(looping), []
    with tracer.run("swallowing"):
        for ask in [*STYLES.values()][:5]:
            try:
                ask(wait, llm)
            except BudgetExceeded as stop:
                swallowed.append(stop)
    assert (len(swallowed), looping.count) == (3, 2)
    assert stored().run("last")["refused_calls"] == 1


@pytest.mark.parametrize("steps", [2])
def test_p11_a_limit_of_steps_stops_the_third(
    wait: Wait, looping: LoopbackServer, db: Any, steps: int
) -> None:
    with Tracer(db.with_name("steps.db"), budget=Budget(steps=steps)) as tracer:
        tokentrace_llama_index.instrument(tracer)
        with pytest.raises(BudgetExceeded, match="2 of 2 steps"):
            wait(answer(agent(looping, add)))
    assert looping.count == 2


class TestWithNothingToSpend:
    """No request at all leaves the process."""

    @pytest.fixture
    def budget(self) -> Budget:
        return Budget(run_usd=0)

    @pytest.mark.parametrize("style", STYLES)
    @pytest.mark.parametrize("wire", ["chat", "responses", "anthropic"])
    def test_p11_a_model_asked_without_an_agent_is_refused(
        self, wait: Wait, server: LoopbackServer, stopped_run: Callable[..., Row], style: str, wire: str
    ) -> None:
        server.script_loop(Turn("It will."))
        with pytest.raises(BudgetExceeded, match="nothing is left"):
            STYLES[style](wait, model(server, wire))
        stopped_run(calls=0)

    @pytest.mark.parametrize("build", AGENTS.values(), ids=AGENTS)
    def test_p11_an_agent_is_refused(
        self, wait: Wait, looping: LoopbackServer, stopped_run: Callable[..., Row], build: Callable[..., Any]
    ) -> None:
        with pytest.raises(BudgetExceeded):
            wait(answer(build(looping)))
        stopped_run(calls=0)

    def test_p11_a_model_that_knows_only_the_older_idiom_is_refused(
        self, server: LoopbackServer, tracer: Tracer, stopped_run: Callable[..., Row]
    ) -> None:
        made_before: LLM = model(server)
        tokentrace_llama_index.uninstrument()
        Settings.callback_manager = CallbackManager([TokentraceHandler(tracer)])
        try:
            for llm in (made_before, model(server)):
                with pytest.raises(BudgetExceeded):
                    llm.complete("Will it rain?")
        finally:
            Settings.callback_manager = CallbackManager([])
        stopped_run(calls=0)


ENGINES: dict[str, Callable[[Wait, Any, LLM], Any]] = {
    "query": lambda wait, index, llm: index.as_query_engine(llm=llm).query("rain?"),
    "aquery": lambda wait, index, llm: wait(index.as_query_engine(llm=llm).aquery("rain?")),
    "streamed query": lambda wait, index, llm: str(
        index.as_query_engine(llm=llm, streaming=True).query("rain?")
    ),
    "chat": lambda wait, index, llm: index.as_chat_engine("condense_plus_context", llm=llm).chat("rain?"),
    "achat": lambda wait, index, llm: wait(
        index.as_chat_engine("condense_plus_context", llm=llm).achat("rain?")
    ),
    "stream_chat": lambda wait, index, llm: list(
        index.as_chat_engine("condense_plus_context", llm=llm).stream_chat("rain?").response_gen
    ),
    "astream_chat": lambda wait, index, llm: wait(
        index.as_chat_engine("condense_plus_context", llm=llm).astream_chat("rain?")
    ),
    "simple stream_chat": lambda wait, index, llm: list(
        SimpleChatEngine.from_defaults(llm=llm).stream_chat("rain?").response_gen
    ),
    "context chat": lambda wait, index, llm: index.as_chat_engine("context", llm=llm).chat("rain?"),
}


@pytest.mark.parametrize("ask", ENGINES.values(), ids=ENGINES)
def test_p11_an_engine_whose_money_is_spent_asks_nothing(
    wait: Wait, server: LoopbackServer, tracer: Tracer, ask: Callable[..., Any]
) -> None:
    index, llm = library(), model(server)
    server.script_loop(Turn("It will.", usage=USAGE))
    with tracer.run("all spent"):
        for _ in range(2):
            llm.complete("Will it rain?")
        with pytest.raises(BudgetExceeded):
            ask(wait, index, llm)
    assert server.count == 2
