"""The account: whatever happened, no token is claimed twice and no call for more than it cost."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.analysis.audit.conftest import BOOK, Agent, check, system, text, user
from tests.analysis.audit.test_retries_and_loops import loop
from tests.privacy.test_retention import let_go
from tokentrace_core import Tracer
from tokentrace_core.analysis import Scope
from tokentrace_core.analysis.audit import audit
from tokentrace_core.analysis.audit.account import Account, Waste, _without
from tokentrace_core.analysis.audit.calls import Call, Run
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.tariff import Tariff
from tokentrace_core.analysis.what_if import RetryCap, what_if

DOCUMENTS = [text(1_200, word) for word in ("alpha", "beta", "gamma")]
TOOLS = [{"name": f"tool_{number}", "description": text(250)} for number in range(6)]

ask = st.fixed_dictionaries(
    {
        "kind": st.just("ask"),
        "documents": st.lists(st.sampled_from(DOCUMENTS), max_size=3),
        "read": st.integers(0, 3_000),
        "write": st.integers(0, 3_000),
        "filler": st.booleans(),
        "clock": st.integers(0, 3),
        "tools": st.booleans(),
    }
)
use = st.fixed_dictionaries(
    {"kind": st.just("use"), "error": st.booleans(), "argument": st.integers(0, 1), "large": st.booleans()}
)


def act(agent: Agent, action: dict[str, Any]) -> None:
    if action["kind"] == "use":
        result = text(30_000) if action["large"] else "ok"
        agent.use("lookup", {"id": action["argument"]}, result, error="429" if action["error"] else None)
        return
    prompt = 100 + 1_300 * len(action["documents"]) + (1_500 if action["tools"] else 0)
    read = min(action["read"], prompt)
    agent.ask(
        [system(f"It is {action['clock']} o'clock."), *map(user, action["documents"])],
        ("Great question! I'd be happy to help you. " if action["filler"] else "") + "It is done.",
        prompt=prompt,
        read=read,
        write=min(action["write"], prompt - read),
        output=30,
        tools=TOOLS if action["tools"] else None,
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(runs=st.lists(st.lists(ask | use, max_size=14), min_size=1, max_size=4))
def test_findings_never_add_up_to_more_than_a_call_has_cost(runs: list[list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.db"
        with Tracer(path, prices=BOOK) as tracer:
            agent = Agent(tracer)
            for number, actions in enumerate(runs):
                with tracer.run(f"run {number % 2}"):
                    for action in actions:
                        act(agent, action)
        check(audit(path, Scope(), prices=BOOK), path)


claims = st.lists(
    st.one_of(
        st.tuples(st.just("prompt"), st.integers(0, 999), st.integers(0, 1_200), st.booleans()),
        st.tuples(st.just("reply"), st.integers(0, 60)),
        st.just(("whole",)),
    ),
    max_size=6,
)


@given(claims, claims)
def test_what_an_account_recalls_is_claimed_as_if_it_had_been_claimed_there(
    earlier: list[tuple[Any, ...]], later: list[tuple[Any, ...]]
) -> None:
    """An audit that looks at a day once would pay twice for it."""
    first, second, whole = (Account(CallRates(BOOK)) for _ in range(3))
    for waste in _claimed(first, earlier):
        if waste is not None:
            second.recall(waste)
    assert _claimed(second, later) == _claimed(whole, earlier + later)[len(earlier) :]


def _claimed(account: Account, claims: list[tuple[Any, ...]]) -> list[Waste | None]:
    """Of one call: 1,000 tokens of prompt, of which 300 were read and 200 written, and a reply of 50."""
    call = Call(
        0, "call", None, "claude-x", None, None, 500, 300, 200, 0, 1_000, 50, 0, 1_280_000, "priced", 0, 1, "success",
        None, None, None, None, 0, 1, None, None, Run("run", "", None, "", None, 1, 0), leaf=None,
        tariff=Tariff(1_000_000, 100_000, 1_250_000, 2_000_000, 10_000_000),
    )  # fmt: skip
    made = []
    for kind, *figures in claims:
        if kind == "prompt":
            begin, end, cached = figures
            made.append(account.prompt(call, begin, end, cached=cached))
        else:
            made.append(account.reply(call, *figures) if kind == "reply" else account.whole(call))
    return made


spans = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda span: (min(span), max(span)))


@given(st.lists(spans), st.integers(0, 50), st.integers(0, 50))
def test_what_is_left_of_a_span_is_what_nobody_took(
    taken: list[tuple[int, int]], begin: int, end: int
) -> None:
    def places(spans: list[tuple[int, int]]) -> set[int]:
        return {place for left, right in spans for place in range(left, right)}

    free = _without(taken, begin, end)
    assert places(free) == set(range(begin, end)) - places(taken)
    assert sum(right - left for left, right in free) == len(places(free))


def test_a_call_priced_by_a_book_that_is_not_at_hand_is_scaled_to_what_it_cost(
    agent: Agent, tracer: Tracer
) -> None:
    loop(agent, 6)
    assert tracer.flush(10)
    found = audit(tracer.path, Scope())
    assert found.wasted_nano_usd == 4 * 1_100_000, "a whole call needs no rates"


def test_what_retention_has_taken_is_said_and_not_guessed(agent: Agent, tracer: Tracer, db: Path) -> None:
    loop(agent, 6)
    for _ in range(5):
        with tracer.run("support"):
            agent.ask(
                [user("Where?")], "Certainly! I'd be happy to help you with that. It is here.", output=40
            )
    tracer.close()
    before = audit(db, Scope(), prices=BOOK)
    assert {finding.kind for finding in before.findings} == {"loop", "preamble"}
    later = datetime.now(UTC) + timedelta(days=3)
    let_go(db, later, payloads="1d", traces="900d", summaries="900d", aggregates="900d")
    after = audit(db, Scope(), prices=BOOK)
    assert after.unreadable_calls == after.calls == 12
    assert {finding.kind for finding in after.findings} == {"preamble"}, "noted when it was recorded"


@pytest.fixture
def after(agent: Agent, tracer: Tracer, db: Path) -> Callable[[str], Path]:
    """A file of one loop in which somebody has done this."""

    def meddle(statement: str) -> Path:
        loop(agent, 6)
        tracer.close()
        with closing(sqlite3.connect(db)) as file, file:
            file.execute(statement)
        return db

    return meddle


@pytest.mark.parametrize(
    "statement", ["delete from prompts", "delete from messages", "update messages set body = '{'"]
)
def test_a_file_with_holes_is_audited_as_far_as_it_goes(after: Callable[[str], Path], statement: str) -> None:
    found = audit(after(statement), Scope(), prices=BOOK)
    assert [finding.kind for finding in found.findings] == ["loop"]


@pytest.mark.parametrize(
    "statement",
    [
        "update llm_calls set started_at = null where id = (select max(id) from llm_calls)",
        "update llm_calls set cost_nano_usd = 'much' where id = (select max(id) from llm_calls)",
        "update steps set agent_step = 'first'",
        "update tool_calls set result_bytes = 'many' where id = (select max(id) from tool_calls)",
        "update prompts set bytes = 'few', role = x'ff'",
        "update runs set llm_calls = null, tool_calls = 'some'",
    ],
)
def test_a_value_that_no_recorder_writes_costs_its_row_and_not_the_audit(
    after: Callable[[str], Path], statement: str
) -> None:
    file = after(statement)
    assert audit(file, Scope(), prices=BOOK).calls >= 5
    assert what_if(file, [RetryCap(2)]).calls >= 5
