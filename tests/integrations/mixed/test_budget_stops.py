"""A budget of N calls lets exactly N requests leave the process, whichever frameworks make them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.conformance.work import ScriptedModel
from tests.integrations.mixed.conftest import Ask, Recorded
from tests.integrations.mixed.parts import (
    AGENTS,
    ORDERS,
    PRICE_NANO_USD,
    Build,
    expect,
    langchain_chain,
    llama_index_engine,
    nested,
    question,
)
from tests.loopback import LoopbackServer
from tokentrace_core import Budget, BudgetExceeded


def money_for(calls: int, rest: int = 0) -> Budget:
    """The mock's embeddings have no price, and cost nothing. `rest`: nano-dollars that are left then."""
    return Budget(run_usd=Decimal(calls * PRICE_NANO_USD + rest) / 10**9, on_unpriced="allow")


#: Stops in the outermost agent, in the second, in the third, in the chain, and on the way back.
STOPS = {0: Budget(steps=0), 1: money_for(1), 2: Budget(steps=2), 3: money_for(3), 5: money_for(5)}


def stopped_after(calls: int, server: LoopbackServer, recorded: Recorded) -> None:
    """Not one request more, and the record says so. Embeddings by the mock are calls, and no requests."""
    assert server.count == calls
    reader = recorded.reader()
    [run] = reader.runs()
    assert (run["status"], run["error_type"], run["refused_calls"]) == ("failure", "budget_exceeded", 1)
    made = [call for call in reader.llm_calls(run["id"]) if call["status"] == "success"]
    assert sum(call["kind"] == "chat" for call in made) == calls


@pytest.mark.parametrize(("calls", "budget"), STOPS.items(), ids=[f"{calls} calls" for calls in STOPS])
@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
def test_a_budget_of_n_calls_stops_at_n_requests_and_whoever_asked_first_is_told(
    server: LoopbackServer,
    model: ScriptedModel,
    ask: Ask,
    recorded: Recorded,
    order: tuple[str, ...],
    calls: int,
) -> None:
    """Else a framework in the middle swallows the stop, and the one round it goes on spending."""
    expect(model, 3)
    asker = nested(server, [AGENTS[name] for name in order], langchain_chain(server))
    with pytest.raises(BudgetExceeded):
        ask(asker, question("first"))
    stopped_after(calls, server, recorded)


@pytest.mark.parametrize("budget", [money_for(1, rest=1)], ids=["one call"])
@pytest.mark.parametrize("build", AGENTS.values(), ids=AGENTS)
def test_the_query_engine_in_a_tool_is_stopped_by_the_budget_of_the_agent(
    server: LoopbackServer, model: ScriptedModel, ask: Ask, recorded: Recorded, build: Build
) -> None:
    """Else a budget ends where another framework begins."""
    expect(model, 1)
    with pytest.raises(BudgetExceeded):
        ask(nested(server, [build], llama_index_engine(server)), question("first"))
    stopped_after(1, server, recorded)
    assert "retrieval VectorIndexRetriever" in recorded.tree()
