"""Many users at once, each in a program of three frameworks: nobody's calls stand in another one's run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

import pytest

from tests.conformance.work import ScriptedModel
from tests.integrations.mixed.conftest import Recorded
from tests.integrations.mixed.parts import (
    AGENTS,
    ORDERS,
    PRICE_NANO_USD,
    expect,
    langchain_chain,
    nested,
    question,
)
from tests.loopback import LoopbackServer
from tokentrace_core import Tracer

USERS = [f"user {n}" for n in range(12)]


@pytest.mark.parametrize("style", ["threads", "tasks"])
@pytest.mark.parametrize("order", ORDERS[::2], ids=" > ".join)
def test_twelve_users_at_once_have_a_run_each_with_their_own_calls(
    server: LoopbackServer,
    model: ScriptedModel,
    tracer: Tracer,
    recorded: Recorded,
    order: tuple[str, ...],
    style: str,
) -> None:
    """Else one user pays for another, and reads what that one was told."""
    for user in USERS:
        expect(model, 3, user)
    asker = nested(server, [AGENTS[name] for name in order], langchain_chain(server))

    def ask(user: str) -> None:
        with tracer.session(f"of {user}", user=user):
            asker.ask(question("first", user))

    async def ask_async(user: str) -> None:
        with tracer.session(f"of {user}", user=user):
            await asker.ask_async(question("first", user))

    async def ask_all() -> None:
        await asyncio.gather(*map(ask_async, USERS))

    if style == "tasks":
        asyncio.run(ask_all())
    else:
        with ThreadPoolExecutor(len(USERS)) as pool:
            list(pool.map(lambda user: Context().run(ask, user), USERS))
    reader = recorded.reader()
    runs = list(reader.runs())
    assert sorted(run["user_id"] for run in runs) == sorted(USERS)
    for run in runs:
        user = run["user_id"]
        assert run["session_id"] == f"of {user}"
        assert (run["llm_calls"], run["tool_calls"], run["cost_nano_usd"]) == (7, 3, 7 * PRICE_NANO_USD)
        asked = [call["arguments"] for call in reader.tool_calls(run["id"])]
        assert sorted(asked) == [
            f'{{"question":"{question(name, user)}"}}' for name in ("end", "second", "third")
        ]
    assert server.count == 7 * len(USERS)
