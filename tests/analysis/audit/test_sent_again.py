"""What was sent again at the full price: only where the cache would have had it, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.analysis.audit.conftest import Agent, only, system, text, user
from tokentrace_core import Tracer
from tokentrace_core.analysis.audit import Audit

Audited = Callable[..., Audit]
RULES = text(3_000, "rules")
DIFF = text(2_500, "diff")

#: Nano-dollars per token, by `conftest.BOOK`.
NEW, READ, WRITE = 1_000, 100, 1_250


def about(found: int, expected: int) -> bool:
    """Within the 2 % that the size of a message may be off its tokens."""
    return abs(found - expected) <= 0.02 * expected


def turns(agent: Agent, count: int, **usage: int) -> None:
    """Each turn is a run that begins with the rules, and asks something else."""
    for turn in range(count):
        with agent.tracer.run("review"):
            agent.ask([user(RULES), user(f"question {turn}")], **usage)


def test_a_file_sent_again_each_turn_costs_what_a_cache_would_have_saved(
    agent: Agent, audited: Audited
) -> None:
    turns(agent, 9)
    finding = only(audited())
    assert finding.kind == "refetch"
    assert len(finding.calls) == 8
    assert about(finding.wasted_tokens, 8 * 3_000)
    assert about(finding.wasted_nano_usd, 3_000 * (8 * (NEW - READ) - (WRITE - NEW)))
    assert "rules rules" in finding.title


def test_a_file_that_is_read_from_the_cache_is_no_waste(agent: Agent, audited: Audited) -> None:
    with agent.tracer.run("review"):
        agent.ask([user(RULES), user("question")], write=3_000)
    turns(agent, 8, read=3_000)
    assert audited().findings == ()


def test_a_short_prefix_cannot_be_cached(agent: Agent, audited: Audited) -> None:
    for turn in range(9):
        with agent.tracer.run("review"):
            agent.ask([user(text(900)), user(f"question {turn}")])
    assert audited().findings == ()


def test_a_model_without_a_cache_price_cannot_cache(tracer: Tracer, audited: Audited) -> None:
    turns(Agent(tracer, "unheard-of"), 9)
    found = audited()
    assert found.findings == ()
    assert found.unpriced_calls == 9


def test_a_file_behind_another_prefix_is_found_by_itself(agent: Agent, audited: Audited) -> None:
    for turn in range(5):
        with agent.tracer.run("review"):
            agent.ask([user(f"question {turn}"), user(RULES)])
    finding = only(audited())
    assert finding.kind == "refetch"
    assert about(finding.wasted_nano_usd, 3_000 * (4 * (NEW - READ) - (WRITE - NEW)))


def test_different_files_are_not_the_same(agent: Agent, audited: Audited) -> None:
    for turn in range(9):
        with agent.tracer.run("review"):
            agent.ask([user(text(3_000, f"file{turn}")), user("question")])
    assert audited().findings == ()


# ── an agent's own history ───────────────────────────────────────────────────────────────────────────────


def history(agent: Agent, steps: int, *, cached: bool) -> None:
    """An agent that resends all it has said, with 2,000 tokens more at each step."""
    messages: list[dict[str, Any]] = [system("You help."), user("Begin.")]
    sent = 0
    with agent.tracer.run("worker"):
        for step in range(steps):
            messages.append(user(text(2_000, f"step{step}")))
            size = 2_010 * (step + 1)
            agent.ask(
                list(messages), prompt=size, read=sent if cached else 0, write=size - sent if cached else 0
            )
            messages.append({"role": "assistant", "content": f"thought {step}"})
            sent = size


def test_a_history_that_is_resent_and_cached_is_how_models_work(agent: Agent, audited: Audited) -> None:
    history(agent, 8, cached=True)
    assert audited().findings == ()


def test_a_history_that_is_resent_without_caching_is_named_as_that(agent: Agent, audited: Audited) -> None:
    history(agent, 4, cached=False)
    finding = only(audited())
    assert finding.kind == "uncached_prefix"
    resent = 2_010 * (1 + 2 + 3)
    assert finding.wasted_tokens == resent
    assert finding.wasted_nano_usd == resent * (NEW - READ) - 2_010 * 3 * (WRITE - NEW)


def test_a_provider_that_caches_by_itself_and_misses_is_nobodys_fault(
    tracer: Tracer, audited: Audited
) -> None:
    history(Agent(tracer, "gpt-x"), 8, cached=False)
    assert audited().findings == ()


# ── parallel sub-agents ──────────────────────────────────────────────────────────────────────────────────


def fan_out(agent: Agent, roles: tuple[str, ...] = ("security", "performance", "architecture")) -> None:
    def review(role: str) -> None:
        with agent.tracer.run(role):
            agent.ask([system(f"You look at {role}."), user(DIFF)])

    with agent.tracer.run("review"), ThreadPoolExecutor(3) as pool:
        list(pool.map(agent.tracer.carry(review), roles))


def test_a_payload_sent_to_each_sub_agent_is_fan_out(agent: Agent, audited: Audited) -> None:
    fan_out(agent)
    finding = only(audited())
    assert finding.kind == "fan_out"
    assert len(finding.calls) == 2
    assert about(finding.wasted_nano_usd, 2_500 * (2 * (NEW - READ) - (WRITE - NEW)))


def test_sub_agents_spawned_by_tools_are_siblings_too(agent: Agent, audited: Audited) -> None:
    with agent.tracer.run("review"):
        agent.ask([user("Review it.")], prompt=20)
        for role in ("security", "performance"):
            with agent.tracer.tool("delegate", {"role": role}):
                agent.ask([system(role), user(DIFF)])
    assert only(audited()).kind == "fan_out"


def test_one_sub_agent_duplicates_nothing(agent: Agent, audited: Audited) -> None:
    fan_out(agent, ("security",))
    assert audited().findings == ()


# ── a cache that broke ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ["claude-x", "gpt-x"])
@pytest.mark.parametrize("top", ["It is 09:{0:02} o'clock.", "Request 8f3e{0:02}ab-11.", "You talk to {1}."])
def test_a_system_prompt_that_changes_at_the_top_breaks_the_cache(
    tracer: Tracer, audited: Audited, model: str, top: str
) -> None:
    agent = Agent(tracer, model)
    for turn, name in enumerate(("Ada", "Bob", "Cyril", "Dora")):
        with tracer.run("support"):
            agent.ask([system(top.format(turn, name) + RULES), user(f"question {turn}")])
    finding = only(audited())
    assert finding.kind == "broken_cache"
    assert len(finding.calls) == 3
    assert "message 1" in finding.title
    premium = 3_000 * (WRITE - NEW) if model == "claude-x" else 0
    assert abs(finding.wasted_nano_usd - (3 * 3_000 * (NEW - READ) - premium)) <= 3 * 128 * NEW


def test_two_agents_with_prompts_of_their_own_break_nothing(agent: Agent, audited: Audited) -> None:
    for name in ("sales", "support", "legal"):
        with agent.tracer.run(name):
            agent.ask([system(text(3_000, name)), user("question")])
    assert audited().findings == ()
