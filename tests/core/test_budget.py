"""A limit that does not hold is worse than none: someone trusted it."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from tests.core.conftest import Ear
from tokentrace_core import Budget, BudgetExceeded, ModelPrice, PriceBook, Tracer, Usage, signals
from tokentrace_core.recorder import Recorder

Make = Callable[..., tuple[Recorder, Ear]]

#: A cent per call: nothing for the prompt, 100 tokens of reply at 100 $ per million.
CENT = PriceBook({"cent": ModelPrice(input=0, output=100)})
REPLY = Usage(input_uncached_tokens=10, output_tokens=100)
CENT_NANO = 10_000_000


def call(recorder: Recorder, key: Any, model: str = "cent", **request: Any) -> None:
    recorder.open_llm(key, model=model, **request)
    recorder.close_llm(key, usage=REPLY)


@pytest.mark.parametrize(
    ("limits", "argument"),
    [
        ({"run_usd": "a lot"}, "run_usd='a lot'"),
        ({"run_usd": -1}, "run_usd=-1"),
        ({"run_usd": float("nan")}, "run_usd=nan"),
        ({"run_usd": float("inf")}, "run_usd=inf"),
        ({"steps": -1}, "steps=-1"),
        ({"steps": 2.5}, "steps=2.5"),
        ({"steps": True}, "steps=True"),
        ({"warn_at": 0}, "warn_at=0"),
        ({"warn_at": 1.1}, "warn_at=1.1"),
        ({"on_unpriced": "explode"}, "on_unpriced='explode'"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_and_named(limits: dict[str, Any], argument: str) -> None:
    with pytest.raises(ValueError, match="Budget") as caught:
        Budget(**limits)
    assert argument in str(caught.value)


def test_a_call_that_does_not_fit_is_refused_before_it_is_opened_and_says_what_is_spent(
    make_recorder: Make,
) -> None:
    recorder, ear = make_recorder(budget=Budget("0.03"), prices=CENT)
    run = recorder.open_run("run", "agent")
    for number in range(3):
        call(recorder, number, parent="run")
    with pytest.raises(
        BudgetExceeded, match=r"spent \$0\.0300 of \$0\.0300.*Raise Budget\(run_usd"
    ) as caught:
        call(recorder, "fourth", parent="run")
    recorder.close_run("run")
    error = caught.value
    assert isinstance(error, RuntimeError)
    assert (error.scope, error.spent, error.limit) == ("run_usd", Decimal("0.03"), Decimal("0.03"))
    assert (run.llm_calls, run.refused_calls, run.cost_nano_usd) == (3, 1, 3 * CENT_NANO)
    assert (run.status, run.error_type) == ("failure", "budget_exceeded")
    [refused] = ear.told("llm-call-refused")
    assert (refused.status, refused.attributes["budget_stop"]) == ("refused", True)


def test_a_long_prompt_is_refused_by_its_size_before_anything_is_spent(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.01"))
    with pytest.raises(BudgetExceeded, match=r"spent \$0 of \$0\.0100; estimated cost"):
        call(recorder, "big", "gpt-4o", messages=[{"role": "user", "content": "word " * 10_000}])


def test_a_stopped_run_refuses_every_further_call_even_one_that_would_fit(make_recorder: Make) -> None:
    recorder, ear = make_recorder(budget=Budget("0.01"))
    run = recorder.open_run("run", "agent that swallows exceptions")
    with pytest.raises(BudgetExceeded):
        call(recorder, "big", "gpt-4o", parent="run", messages=["word " * 10_000])
    for attempt in range(4):
        with pytest.raises(BudgetExceeded):
            call(recorder, attempt, "gpt-4o", parent="run", messages=["tiny"])
    recorder.open_run("other", "another run")
    call(recorder, "in the other run", "gpt-4o", parent="other", messages=["tiny"])
    assert (run.refused_calls, run.llm_calls) == (1, 0)
    assert ear.told("llm-call-refused")[0].attributes["attempts"] == 5


def test_a_call_refused_under_a_key_is_refused_again_under_the_same_key(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget(steps=0))
    recorder.open_run("run", "agent")
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            recorder.open_llm("retried", parent="run", model="gpt-4o")


def test_p5_a_call_inside_a_call_is_charged_to_the_budget_too(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.02"), prices=CENT)
    recorder.open_run("run", "agent")
    for number in range(2):
        recorder.open_llm(("outer", number), parent="run", model="cent")
        call(recorder, ("inner", number), parent=("outer", number))
        recorder.close_llm(("outer", number), usage=REPLY)
    with pytest.raises(BudgetExceeded, match=r"spent \$0\.0200"):
        recorder.open_llm("third", parent="run", model="cent")


def test_p5_a_call_that_makes_many_requests_is_stopped_among_them(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.03"), prices=CENT)
    recorder.open_llm("router", model="cent")
    made = 0
    with suppress(BudgetExceeded):
        for made in range(10):
            call(recorder, ("request", made), parent="router")
    assert made == 3


def test_the_step_limit_holds_to_the_step_under_threads(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget(steps=40))
    run = recorder.open_run("run", "swarm")
    made = _made_by_threads(lambda key: call(recorder, key, parent="run"), calls_each=4)
    assert (made, run.steps, run.refused_calls) == (40, 40, 1)


def test_calls_inside_one_step_of_the_users_own_count_as_one_step(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget(steps=1))
    recorder.open_run("run", "agent")
    recorder.open_step("one", parent="run")
    for number in range(3):
        call(recorder, number, parent="one")
    recorder.close_step("one")
    recorder.open_step("two", parent="run")
    with pytest.raises(BudgetExceeded, match="1 of 1 steps taken") as caught:
        call(recorder, "too many", parent="two")
    assert (caught.value.scope, caught.value.spent, caught.value.limit) == ("steps", 1, 1)


def test_p12_thirty_two_threads_never_spend_more_than_the_limit(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.10"), prices=CENT)
    run = recorder.open_run("run", "swarm")
    together = threading.Barrier(32)

    def all_at_once(key: Any) -> None:
        together.wait()
        recorder.open_llm(key, parent="run", model="cent", params={"max_tokens": 100})
        recorder.close_llm(key, usage=REPLY)

    made = _made_by_threads(all_at_once, calls_each=1)
    assert 0 < made <= 10
    assert run.cost_nano_usd == made * CENT_NANO <= 10 * CENT_NANO


def _made_by_threads(work: Callable[[Any], None], *, calls_each: int) -> int:
    def thread(number: int) -> int:
        made = 0
        for attempt in range(calls_each):
            with suppress(BudgetExceeded):
                work((number, attempt))
                made += 1
        return made

    with ThreadPoolExecutor(32) as pool:
        return sum(pool.map(thread, range(32)))


def test_money_set_aside_comes_back_when_a_call_fails_or_was_free(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.03"), prices=CENT)
    recorder.open_run("run", "agent")
    for number in range(20):
        recorder.open_llm(number, parent="run", model="cent", params={"max_tokens": 200})
        if number % 2:
            recorder.fail(number, RuntimeError("rate limit"))
        else:
            recorder.close_llm(number, usage=REPLY, cached=True)
    recorder.open_llm("still fits", parent="run", model="cent", params={"max_tokens": 200})
    recorder.open_llm("and another", parent="run", model="cent", params={"max_tokens": 200})
    with pytest.raises(BudgetExceeded, match=r"\$0 \(and \$0\.0400 in flight\)"):
        recorder.open_llm("one too many", parent="run", model="cent")


def test_what_a_tool_costs_counts_against_the_limit(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.05"), prices=CENT)
    recorder.open_run("run", "agent")
    recorder.open_tool("search", "web search", parent="run")
    recorder.close_tool("search", cost_usd="0.05")
    with pytest.raises(BudgetExceeded, match=r"spent \$0\.0500 of \$0\.0500"):
        call(recorder, "llm", parent="run")


def test_p8_a_model_without_a_price_is_assumed_dear_but_recorded_as_unknown(make_recorder: Make) -> None:
    recorder, ear = make_recorder(budget=Budget("0.01"))
    run = recorder.open_run("run", "agent")
    recorder.open_llm("foo", parent="run", model="foo-9")
    recorder.close_llm("foo", usage=Usage(input_uncached_tokens=1_000, output_tokens=100))
    with pytest.raises(BudgetExceeded, match=r"spent \$0\.0225"):
        call(recorder, "again", "foo-9", parent="run")
    assert (ear.llm_calls[0].cost_nano_usd, run.cost_nano_usd, run.unpriced_calls) == (None, 0, 1)


def test_p8_a_model_without_a_price_can_be_blocked_or_let_through(make_recorder: Make) -> None:
    strict, _ = make_recorder(budget=Budget(1, on_unpriced="block"))
    with pytest.raises(BudgetExceeded, match="'foo-9' has no price and on_unpriced='block'"):
        call(strict, "foo", "foo-9")
    call(strict, "known", "gpt-4o")
    lenient, _ = make_recorder(budget=Budget("0.0001", on_unpriced="allow"))
    lenient.open_run("run", "agent")
    for number in range(20):
        call(lenient, number, "foo-9", parent="run")


def test_a_warning_comes_once_for_each_limit_that_is_near(make_recorder: Make) -> None:
    recorder, _ = make_recorder(budget=Budget("0.10", steps=9, warn_at=0.8), prices=CENT)
    warnings: list[tuple[str, float]] = []

    def hear(_: object, run: Any, scope: str, share: float) -> None:
        warnings.append((scope, round(share, 2)))

    with signals.budget_warning.connected_to(hear, sender=recorder):
        recorder.open_run("run", "agent")
        for number in range(9):
            call(recorder, number, parent="run")
    assert warnings == [("run_usd", 0.8), ("steps", 0.89)]


def test_the_exception_survives_a_process_pool() -> None:
    error = BudgetExceeded("spent", scope="run_usd", spent=Decimal("0.1"), limit=Decimal("0.2"))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.scope, copy.spent, copy.limit) == ("spent", "run_usd", error.spent, error.limit)


def test_through_the_tracer_the_refusal_reaches_the_users_code_and_ends_its_run(db: Any) -> None:
    with Tracer(db, budget=Budget(steps=1)) as tracer:

        @tracer.run
        def agent() -> None:
            for _ in range(3):
                with tracer.llm("gpt-4o") as block:
                    block.done("hello")

        ended: list[Any] = []
        hearing = signals.run_ended.connected_to(lambda _, run: ended.append(run), sender=tracer.recorder)
        with hearing, pytest.raises(BudgetExceeded):
            agent()
    [run] = ended
    assert (run.status, run.error_type, run.llm_calls) == ("failure", "budget_exceeded", 1)
