"""Budgets without a framework: added up by hand, or set aside for spending that nothing records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokentrace_core import Budget, BudgetExceeded, LLMCall, ModelPrice, PriceBook, Run, Step, Tracer, Usage

CENT = PriceBook({"cent": ModelPrice(input=0, output=100)})
REPLY = Usage(input_uncached_tokens=10, output_tokens=100)

Make = Callable[..., Tracer]


@pytest.fixture
def make(db: Path) -> Iterator[Make]:
    made: list[Tracer] = []

    def tracer(**limits: Any) -> Tracer:
        made.append(Tracer(db, budget=Budget(**limits), prices=CENT))
        return made[-1]

    yield tracer
    for each in made:
        each.close()


def call_of(nano_usd: int, tokens: int = 100) -> LLMCall:
    return LLMCall(id="c", run_id="r", started_at=0, cost_nano_usd=nano_usd, output_tokens=tokens)


def step() -> Step:
    return Step(id="s", run_id="r", started_at=0, number=1)


# ── added up ─────────────────────────────────────────────────────────────────────────────────────────────


def test_s11_the_span_that_crosses_the_limit_raises_with_the_step_the_sum_and_the_limit() -> None:
    budget = Budget(0.25)
    for _ in range(2):
        budget.add(step())
        budget.add(call_of(120_000_000))
    budget.add(step())
    with pytest.raises(BudgetExceeded, match=r"budget exceeded at step 3: spent \$0\.36\d* of \$0\.25"):
        budget.add(call_of(120_000_000))


def test_s12_what_was_spent_and_what_is_left_can_be_asked() -> None:
    budget = Budget(0.25)
    assert (budget.spent, budget.remaining) == (0, Decimal("0.25"))
    budget.add(call_of(100_000_000))
    assert (budget.spent, budget.remaining) == (Decimal("0.1"), Decimal("0.15"))
    with pytest.raises(BudgetExceeded):
        budget.add(call_of(200_000_000))
    assert (budget.spent, budget.remaining) == (Decimal("0.3"), 0), (
        "what crossed the limit was spent all the same"
    )
    assert Budget(steps=3).remaining is None


@pytest.mark.parametrize(
    ("limits", "scope"),
    [({"run_usd": "0.2"}, "run_usd"), ({"steps": 2}, "steps"), ({"tokens": 200}, "tokens")],
)
def test_s55_asked_before_the_next_call_a_limit_that_is_reached_says_so(
    limits: dict[str, Any], scope: str
) -> None:
    budget = Budget(**limits)
    for _ in range(2):
        budget.check()
        budget.add(step())
        budget.add(call_of(100_000_000))
    with pytest.raises(BudgetExceeded) as caught:
        budget.check()
    assert caught.value.scope == scope


def test_a_whole_run_can_be_added() -> None:
    budget = Budget(1, steps=3, tokens=100)
    budget.add(
        Run(
            id="r",
            run_id="r",
            session_id="s",
            name="r",
            started_at=0,
            steps=3,
            cost_nano_usd=5,
            input_tokens=90,
        )
    )
    with pytest.raises(BudgetExceeded, match="steps"):
        budget.check()


# ── set aside ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_amount_set_aside_is_not_there_for_others_until_it_is_released(make: Make) -> None:
    tracer = make(user_day_usd="0.05")
    first = tracer.reserve("0.04", user="ada")
    with pytest.raises(BudgetExceeded, match=r"\$0\.0400 in flight"):
        tracer.reserve("0.02", user="ada")
    tracer.reserve("0.02", user="bob").release()
    first.release()
    tracer.reserve("0.05", user="ada").release()


def test_what_was_really_spent_counts_and_only_once(make: Make) -> None:
    tracer = make(user_day_usd="0.05")
    reservation = tracer.reserve("0.04", user="ada")
    reservation.settle("0.01")
    reservation.settle("0.01")
    reservation.release()
    tracer.reserve("0.04", user="ada").release()
    with pytest.raises(BudgetExceeded):
        tracer.reserve("0.041", user="ada")


def test_inside_a_run_it_counts_for_that_run_and_its_calls(make: Make) -> None:
    tracer = make(run_usd="0.03")
    with tracer.run("agent") as run:
        tracer.reserve("0.02").settle("0.02")
        with run.llm("cent") as call:
            call.done(None, usage=REPLY)
        with pytest.raises(BudgetExceeded, match="nothing is left"):
            run.llm("cent").__enter__()
    with tracer.run("another") as other:
        with pytest.raises(BudgetExceeded):
            tracer.reserve("0.04", run=other)


def test_left_without_a_word_the_estimate_is_spent_and_after_an_exception_nothing(make: Make) -> None:
    tracer = make(user_day_usd="0.03")
    with pytest.raises(ZeroDivisionError), tracer.reserve("0.03", user="ada"):
        _ = 1 / 0
    with tracer.reserve("0.02", user="ada"):
        pass
    with pytest.raises(BudgetExceeded):
        tracer.reserve("0.02", user="ada")


def test_without_a_budget_everything_can_be_set_aside(tracer: Tracer) -> None:
    with tracer.reserve(1_000_000, user="ada") as reservation:
        reservation.settle(2)
    assert tracer.budget_pressure() == 0


@pytest.mark.parametrize("amount", [-1, float("nan"), float("inf"), "much", None])
def test_an_amount_that_is_none_is_refused_and_named(tracer: Tracer, amount: Any) -> None:
    with pytest.raises(ValueError, match="an amount of dollars") as caught:
        tracer.reserve(amount)
    assert repr(amount) in str(caught.value)
    with pytest.raises(ValueError, match="an amount of dollars"):
        tracer.reserve(1).settle(amount)


# ── pressure ─────────────────────────────────────────────────────────────────────────────────────────────


def test_an_agent_can_see_the_nearest_limit_come(make: Make) -> None:
    tracer = make(run_usd="0.10", steps=4, user_day_usd="0.05")
    seen = []
    with tracer.run("agent", user="ada") as run:
        for _ in range(3):
            with run.llm("cent") as call:
                call.done(None, usage=REPLY)
            seen.append(run.budget_pressure)
        assert tracer.budget_pressure() == seen[-1]
    assert seen == [pytest.approx(0.25), pytest.approx(0.5), pytest.approx(0.75)]
    assert tracer.budget_pressure() == 0


# ── circles ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_tool_with_the_same_arguments_too_often_stops_the_next_model_call(make: Make) -> None:
    """Else an agent that reads one file for ever is stopped by its last cent only."""
    tracer = make(max_repeats=3)
    with tracer.run("agent") as run:
        for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2}, {"a": 2}):
            with run.tool("read", arguments) as tool:
                tool.done("text")
            with run.llm("cent") as call:
                call.done(None, usage=REPLY)
        with run.tool("read", {"a": 1, "b": 2}) as tool:
            tool.done("text")
        with pytest.raises(
            BudgetExceeded, match=r"tool 'read' was called 4 times with the same arguments, limit 3"
        ) as caught:
            run.llm("cent").__enter__()
    assert (caught.value.scope, caught.value.spent, caught.value.limit) == ("max_repeats", 4, 3)
    assert run.status == "failure"


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────


def test_tokens_have_a_limit_too_and_a_prompt_that_cannot_fit_is_not_sent(make: Make) -> None:
    tracer = make(tokens=1_000)
    with tracer.run("agent") as run, run.llm("cent") as call:
        call.done(None, usage=REPLY)
    with tracer.run("agent") as run:
        with pytest.raises(
            BudgetExceeded, match=r"0 of 1,000 tokens used; the call takes 1,\d\d\d at least"
        ) as caught:
            run.llm("cent", messages=[{"role": "user", "content": "word " * 2_000}]).__enter__()
    assert caught.value.scope == "tokens"


def test_s15_who_wants_it_has_a_first_reply_reckoned_before_it_is_known(make: Make) -> None:
    """Requirement S15: a quarter of the prompt's characters and 256 tokens of reply, refused before they are sent."""
    with make(run_usd="0.02").run("agent") as run, run.llm("cent") as call:
        call.done(None, usage=REPLY)
    with make(run_usd="0.02", reply_tokens=256).run("agent") as run:
        with pytest.raises(
            BudgetExceeded, match=r"estimated cost \$0\.0256 would exceed remaining budget \$0\.0200"
        ):
            run.llm("cent").__enter__()


def test_s57_a_limit_that_comes_near_is_a_line_in_the_log_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = make(run_usd="0.10", steps=100)
    with tracer.run("agent") as run:
        for _ in range(9):
            with run.llm("cent") as call:
                call.done(None, usage=REPLY)
    assert [record.getMessage() for record in caplog.records] == [f"run {run.id} has used 70 % of run_usd"]
