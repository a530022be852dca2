"""Any interleaving of reports, in any order and with any parent: the trace stays whole.

Hypothesis plays a framework gone wild. Keys are few, so that they repeat, overtake and collide; parents may be
unknown, finished or of another run. At the end all is closed, and what must hold of every trace is checked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.conftest import Ear
from tokentrace_core import Budget, BudgetExceeded, Usage
from tokentrace_core.recorder import Recorder
from tokentrace_core.replies import Reply

keys = st.integers(0, 12)
parents = st.none() | st.integers(0, 14)
models = st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "no-such-model", None])
usages = st.none() | st.builds(
    Usage,
    input_uncached_tokens=st.integers(0, 5_000),
    cache_read_tokens=st.integers(0, 5_000),
    output_tokens=st.integers(0, 500),
)
asked = st.lists(st.sampled_from(["c1", "c2", "c3"]), max_size=3)
errors = st.sampled_from(
    [ValueError("bad"), TimeoutError(), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()]
)


class Agents(RuleBasedStateMachine):
    budget: Budget | None = None

    def __init__(self) -> None:
        super().__init__()
        self.recorder = Recorder(budget=self.budget, open_runs=6)
        self.ear = Ear(self.recorder)

    @rule(key=keys, session=st.sampled_from([None, "s"]), resume=st.booleans())
    def open_run(self, key: int, session: str | None, resume: bool) -> None:
        self.recorder.open_run(key, "run", session=session, resume=resume)

    @rule(key=keys, parent=parents, in_loop=st.booleans())
    def nest(self, key: int, parent: int | None, in_loop: bool) -> None:
        self.recorder.nest(key, parent, "part", in_loop=in_loop)

    @rule(key=keys)
    def leave(self, key: int) -> None:
        self.recorder.leave(key)

    @rule(key=keys, parent=parents)
    def open_step(self, key: int, parent: int | None) -> None:
        self.recorder.open_step(key, "plan", parent=parent)

    @rule(key=keys, parent=parents, model=models, client=st.sampled_from([None, "one", "other"]))
    def open_llm(self, key: int, parent: int | None, model: str | None, client: str | None) -> None:
        with suppress(BudgetExceeded):
            self.recorder.open_llm(
                key, parent=parent, model=model, messages=[{"content": "hello"}], client=client
            )

    @rule(key=keys, parent=parents, asked=st.none() | st.sampled_from(["c1", "c2", "c3"]))
    def open_tool(self, key: int, parent: int | None, asked: str | None) -> None:
        self.recorder.open_tool(key, "lookup", parent=parent, tool_call_id=asked)

    @rule(key=keys)
    def close_step(self, key: int) -> None:
        self.recorder.close_step(key)

    @rule(key=keys, usage=usages, asked=asked, cached=st.booleans())
    def close_llm(self, key: int, usage: Usage | None, asked: list[str], cached: bool) -> None:
        message: dict[str, Any] = {"content": "hi", "tool_calls": [{"id": each} for each in asked]}
        self.recorder.close_llm(key, usage=usage, output=message, cached=cached)

    @rule(key=keys, cost=st.none() | st.sampled_from(["0.01", 0.002]))
    def close_tool(self, key: int, cost: Any) -> None:
        self.recorder.close_tool(key, "found", cost_usd=cost)

    @rule(key=keys)
    def close_run(self, key: int) -> None:
        self.recorder.close_run(key, output="answer")

    @rule(key=keys, error=errors, usage=usages)
    def fail(self, key: int, error: BaseException, usage: Usage | None) -> None:
        self.recorder.fail(key, error, arrived=Reply(usage=usage))

    @rule(key=keys, said=st.none() | st.just({"content": "half an ans"}))
    def cancel(self, key: int, said: Any) -> None:
        self.recorder.cancel(key, output=said)

    @precondition(lambda self: self.recorder.open_parts > 8)
    @rule()
    def give_all_up(self) -> None:
        self.recorder.close_all()
        assert self.recorder.open_parts == 0

    @rule(key=keys)
    def wait(self, key: int) -> None:
        self.recorder.wait(key, "go on?")

    @rule(key=keys)
    def touch_lightly(self, key: int) -> None:
        self.recorder.first_token(key, text="half ", usage=Usage(output_tokens=3))
        self.recorder.make_score(key, "quality", 0.5, None)
        self.recorder.note(key, {"fact": 1})
        self.recorder.describe_run(key, user="ada", tags=["t"])

    @invariant()
    def nothing_ends_twice(self) -> None:
        for kind in ("step", "llm-call", "tool-call"):
            ended = [id(span) for span in self.ear.told(f"{kind}-ended")]
            assert len(ended) == len(set(ended)), kind

    def teardown(self) -> None:
        self.recorder.close_all()
        assert self.recorder.open_parts == 0
        self.ear.check()
        for call in self.ear.told("llm-call-refused"):
            assert (call.status, call.cost_nano_usd) == ("refused", 0)


class AgentsOnABudget(Agents):
    budget = Budget("0.02", steps=6)


_often = settings(
    max_examples=120,
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow],
)
Agents.TestCase.settings = _often
AgentsOnABudget.TestCase.settings = _often
TestAnyInterleavingLeavesAWholeTrace = Agents.TestCase
TestAnyInterleavingOnABudgetLeavesAWholeTrace = AgentsOnABudget.TestCase
