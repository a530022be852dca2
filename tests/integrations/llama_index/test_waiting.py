"""P19: a tool that stops to ask a human waits. That is no error, no second run, and no time of the agent's."""

# No annotations from the future: LlamaIndex finds a tool's context by its type.

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from llama_index_instrumentation.dispatcher import instrument_tags

from tests.integrations.conftest import LastTree
from tests.integrations.llama_index.agents import agent
from tests.integrations.llama_index.conftest import Wait
from tests.loopback import LoopbackServer, ToolCall, Turn
from tokentrace_core.store.reader import Reader

pytest.importorskip(
    "workflows.runtime.types.results", reason="before workflows 2.9 a waiting step is not left"
)

BREAK_S = 0.05
"""How long the human takes."""
DELETING = """\
  step agent 1 model success
    llm gpt-4o-mini success
"""
DELETED = '    tool delete{"path":"a.txt"} success: deleted: yes\n'
WAITED = '    tool delete{"path":"a.txt"} waiting: None\n'
DONE = """\
  step agent 2 model success
    llm gpt-4o-mini success
"""


async def delete(ctx: Context, path: str) -> str:
    """Delete a file, if a human agrees."""
    asking = InputRequiredEvent(prefix=f"Delete {path}?")  # type: ignore[call-arg]
    answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=asking)
    return f"deleted: {answer.response}"


@pytest.fixture
def deleting(server: LoopbackServer) -> FunctionAgent:
    server.script(Turn(tool_calls=(ToolCall("delete", {"path": "a.txt"}),)), Turn("done"))
    return agent(server, delete)


async def asked(handler: Any) -> None:
    """Until the human has been asked."""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            return


def agree(handler: Any) -> None:
    handler.ctx.send_event(HumanResponseEvent(response="yes"))  # type: ignore[call-arg]


async def put_aside(deleting: FunctionAgent) -> dict[str, Any]:
    """Ask the agent, and keep what it needs to go on once the human has answered."""
    handler = deleting.run("go")
    await asked(handler)
    kept = handler.ctx.to_dict()
    await handler.cancel_run()
    return kept


def test_p19_a_tool_that_asks_waits_and_the_answer_continues_it(
    wait: Wait, deleting: FunctionAgent, stored: Callable[[], Reader], last_tree: LastTree
) -> None:
    async def run() -> None:
        handler = deleting.run("go")
        await asked(handler)
        await asyncio.sleep(BREAK_S)
        agree(handler)
        await handler

    wait(run())
    assert last_tree() == "run agent success: go -> done\n" + DELETING + DELETED + WAITED + DONE
    [run_row] = stored().runs()
    assert run_row["waiting_ms"] >= BREAK_S * 1000
    assert "waiting_for" not in (run_row["attributes"] or "")


def test_p19_a_context_that_is_put_aside_waits_and_goes_on_as_the_same_run(
    wait: Wait, deleting: FunctionAgent, stored: Callable[[], Reader], last_tree: LastTree
) -> None:
    async def go_on(kept: dict[str, Any]) -> None:
        handler = deleting.run(ctx=Context.from_dict(deleting, kept))
        agree(handler)
        await handler

    with instrument_tags({"session_id": "t1"}):
        kept = wait(put_aside(deleting))
        assert last_tree() == "run agent waiting: go -> None\n" + DELETING + WAITED
        assert json.loads(stored().run("last")["attributes"])["waiting_for"] == "Delete a.txt?"
        wait(asyncio.sleep(BREAK_S))
        wait(go_on(kept))
    assert last_tree() == "run agent success: go -> done\n" + DELETING + DELETED + WAITED + DONE
    [run_row] = stored().runs()
    assert (run_row["session_id"], run_row["llm_calls"]) == ("t1", 2)
    assert run_row["waiting_ms"] >= BREAK_S * 1000


def test_p19_nobody_can_go_on_with_a_run_that_is_given_up_and_has_no_session(
    wait: Wait, deleting: FunctionAgent, last_tree: LastTree
) -> None:
    wait(put_aside(deleting))
    assert last_tree() == "run agent cancelled: go -> None\n" + DELETING + WAITED
