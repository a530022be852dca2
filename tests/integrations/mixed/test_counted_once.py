"""Whoever reports a call, and however often: it is one call of one run."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import tokentrace_crewai
import tokentrace_langchain
import tokentrace_llama_index
from tests.conformance.work import ScriptedModel
from tests.integrations.mixed.conftest import Ask, Recorded
from tests.integrations.mixed.parts import (
    AGENTS,
    ORDERS,
    expect,
    langchain_agent,
    langchain_chain,
    nested,
    question,
)
from tests.integrations.mixed.test_one_tree import THREE_AGENTS, same_figures
from tests.loopback import LoopbackServer
from tokentrace_core import Tracer
from tokentrace_crewai import TokentraceListener
from tokentrace_langchain import TokentraceHandler


@pytest.mark.parametrize("order", ORDERS, ids=" > ".join)
def test_two_handlers_in_the_config_beside_those_of_the_whole_process_change_nothing(
    server: LoopbackServer,
    model: ScriptedModel,
    ask: Ask,
    tracer: Tracer,
    recorded: Recorded,
    order: tuple[str, ...],
) -> None:
    """Else who is careful pays twice."""
    expect(model, 3)
    callbacks = [TokentraceHandler(tracer) for _ in range(2)]
    builds: dict[str, Any] = AGENTS | {"langchain": partial(langchain_agent, callbacks=callbacks)}
    ask(nested(server, [builds[name] for name in order], langchain_chain(server)), question("first"))
    assert recorded.tree() == THREE_AGENTS
    same_figures(server, recorded)


@pytest.mark.parametrize("order", ORDERS[::2], ids=" > ".join)
def test_switching_on_twice_and_a_second_listener_change_nothing(
    server: LoopbackServer,
    model: ScriptedModel,
    ask: Ask,
    tracer: Tracer,
    recorded: Recorded,
    order: tuple[str, ...],
) -> None:
    """Else two libraries that both switch it on double the bill."""
    for integration in (tokentrace_crewai, tokentrace_langchain, tokentrace_llama_index):
        integration.instrument(tracer)
    second = TokentraceListener(tracer)
    try:
        expect(model, 3)
        ask(nested(server, [AGENTS[name] for name in order], langchain_chain(server)), question("first"))
    finally:
        second.detach()
    assert recorded.tree() == THREE_AGENTS
    same_figures(server, recorded)
