"""A limit holds wherever the run goes on: shared ones for all processes, the run's own for what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.travel.programs import NANO_PER_CALL, ask_a_model
from tokentrace_core import Budget, BudgetExceeded, Tracer

Rows = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def other(db: Path) -> Callable[..., Tracer]:
    """Another process's tracer, as far as the first one knows: it shares nothing but the file."""
    return lambda budget, path=db: Tracer(path, budget=budget)


def test_what_the_service_spends_counts_for_the_user_of_the_run(
    tracer: Tracer, service: Any, rows: Rows, db: Path
) -> None:
    with tracer.run("agent", user="ada"):
        assert tracer.flush(10)
        service(tracer)
    with Tracer(db, budget=Budget(user_day_usd="0.0035")) as strict:
        with pytest.raises(BudgetExceeded, match="ada") as stop, strict.run("next", user="ada") as run:
            ask_a_model(run)
        assert stop.value.spent == Decimal("0.0035")
        with strict.run("of another", user="bob") as run:
            ask_a_model(run)


def test_a_user_who_is_not_in_the_file_yet_is_looked_up_again_at_the_next_call(
    tracer: Tracer, other: Callable[..., Tracer], rows: Rows
) -> None:
    came = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    with other(Budget(user_day_usd=1)) as there, there.continue_from(came, "service") as part:
        ask_a_model(part)
        assert part.span is not None
        assert part.span.user_id is None
        assert there.flush(10)
        ask_a_model(part)
        begin_run_of_that_id(tracer, came, user="ada")
        ask_a_model(part)
        assert part.span.user_id == "ada"
    assert rows("select name, status, user_id from runs") == [("agent", "running", "ada")], (
        "it is its own again"
    )


def begin_run_of_that_id(tracer: Tracer, headers: dict[str, str], user: str) -> None:
    """The first process's row comes late."""
    from tokentrace_core.spans import Run

    run_id = headers["traceparent"][3:35]
    run = Run(id=run_id, run_id=run_id, session_id="s", user_id=user, name="agent", started_at=1)
    tracer._writer.put(run)
    assert tracer.flush(10)


def test_the_runs_own_limit_counts_what_the_file_says_was_spent_before(
    db: Path, tracer: Tracer, other: Callable[..., Tracer]
) -> None:
    elsewhere = db.with_name("elsewhere.db")
    with tracer.run("agent") as run:
        ask_a_model(run)
        assert tracer.flush(10)
        headers = tracer.headers()
    limit = Budget(run_usd="0.0036")
    with other(limit) as there, there.continue_from(headers, "service") as part:
        ask_a_model(part)
        with pytest.raises(BudgetExceeded) as stop:
            ask_a_model(part)
    assert stop.value.spent == Decimal(2 * NANO_PER_CALL).scaleb(-9)
    with other(limit, elsewhere) as there, there.continue_from(headers, "service") as part:
        ask_a_model(part)  # another file knows nothing of it


def test_a_refused_call_is_in_the_record_of_the_run(
    db: Path, tracer: Tracer, other: Callable[..., Tracer], rows: Rows
) -> None:
    with tracer.run("agent"):
        headers = tracer.headers()
        assert tracer.flush(10)
        with other(Budget(steps=1)) as there, there.continue_from(headers, "service") as part:
            ask_a_model(part)
            with pytest.raises(BudgetExceeded):
                ask_a_model(part)
    assert tracer.flush(10)
    assert rows("select status, error_type, llm_calls, refused_calls from runs") == [("success", None, 1, 1)]
    assert rows("select status, error_type from run_parts") == [("failure", "budget_exceeded")]
