"""Signals are how others build on a trace: documented, harmless to the agent, and free of what is private."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest
from blinker import NamedSignal

from tokentrace_core import Budget, BudgetExceeded, Tracer, Usage, signals
from tokentrace_core.payload import Payload
from tokentrace_core.prompts import Prompt
from tokentrace_core.spans import Span

CANARY = "canary.bird@example.com"
ALL = [getattr(signals, name) for name in signals.__all__]
#: Two signals carry more than a span.
KEYWORDS = {signal: {keyword} for signal, keyword in signals.CARRIES.items()} | {
    signals.budget_warning: {"run", "scope", "share"},
    signals.budget_exceeded: {"run", "error"},
}

Facts = list[tuple[NamedSignal, dict[str, Any]]]


@pytest.fixture
def act(tracer: Tracer) -> Callable[..., None]:
    """A story in which every signal is sent."""

    def play(tracer: Tracer = tracer, text: str = "hello") -> None:
        with tracer.session(user="ada", note=text):
            with tracer.run(f"waits {text}", input=text, tags=[text], attributes={"note": text}) as run:
                with run.step(f"plan {text}") as step:
                    with step.llm("gpt-4o", messages=[text], system=text, stop=text, tools=[text]) as call:
                        call.done(
                            {"choices": [{"message": {"content": text}}], "usage": {"prompt_tokens": 9}}
                        )
                    with step.tool(f"lookup {text}", {text: text}) as tool:
                        tool.done(text, error=text)
                    step.set_reasoning(text)
                with run.tool(f"act {text}"):
                    pass
                run.set(note=text).record_error(ValueError(text))
                tracer.recorder.wait(run.key, text)
            with pytest.raises(BudgetExceeded), tracer.run("fails") as run:  # noqa: PT012
                run.set_output(text)
                for _ in range(3):
                    with run.llm("gpt-4o"):
                        pass
            elsewhere = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
            with (
                pytest.raises(LookupError),
                tracer.continue_from(elsewhere, f"continues {text}", attributes={"note": text}),
            ):
                raise LookupError(text)

    return play


@pytest.fixture
def listen() -> Any:
    """Hear all signals of a sender (or of everyone) while the test lasts."""
    with ExitStack() as connections:

        def hear_all(**sender: Any) -> Facts:
            facts: Facts = []
            for signal in ALL:

                def hear(_: object, *, told: NamedSignal = signal, **fact: Any) -> None:
                    facts.append((told, fact))

                connections.enter_context(signal.connected_to(hear, **sender))
            return facts

        yield hear_all


@pytest.fixture
def on_budget(db: Any) -> Any:
    with Tracer(db, budget=Budget(steps=2, warn_at=0.5)) as tracer:
        yield tracer


def test_every_signal_is_sent_with_the_keywords_its_doc_names(
    on_budget: Tracer, act: Callable[..., None], listen: Callable[..., Facts]
) -> None:
    facts = listen()
    act(on_budget)
    assert {signal for signal, _ in facts} == set(ALL)
    for signal, fact in facts:
        assert set(fact) == KEYWORDS[signal], signal.name
        documented = (signal.__doc__ or "").partition("(")[2].partition(")")[0].split(", ")
        assert documented == ["recorder", *fact], signal.name


def test_a_receiver_that_raises_changes_nothing_and_the_others_are_still_called(
    on_budget: Tracer,
    act: Callable[..., None],
    listen: Callable[..., Facts],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: object, **fact: Any) -> None:
        raise RuntimeError("receiver at fault")

    before = listen()
    with ExitStack() as connections:
        for signal in ALL:
            connections.enter_context(signal.connected_to(broken))
        after = listen()
        act(on_budget)
    assert len(before) == len(after) > len(ALL)
    assert "a receiver of llm-call-ended failed; the agent goes on" in caplog.text
    assert on_budget.flush(10)
    assert on_budget.losses == {}


def test_p22_whatever_a_receiver_looks_at_the_private_text_is_not_in_it(
    on_budget: Tracer, act: Callable[..., None], listen: Callable[..., Facts]
) -> None:
    facts = listen()
    act(on_budget, CANARY)
    spans = [value for _, fact in facts for value in fact.values() if isinstance(value, msgspec.Struct)]
    seen = "".join(_everything_in(span) for span in spans)
    assert "EMAIL" in seen.upper(), "the redactor marks what it took"
    assert CANARY not in seen
    for span in spans:
        assert CANARY not in repr(span)


def _everything_in(value: Any) -> str:
    if isinstance(value, Payload):
        return f"{value.value}{value.text}{value.json}{value!r}{value.__getstate__()}"
    if isinstance(value, Prompt):
        return f"{value.messages()}{[_everything_in(node.message) for node in value.path()]}"
    if isinstance(value, Span):
        return "".join(_everything_in(getattr(value, name)) for name in value.__struct_fields__)
    return repr(value)


def test_a_receiver_connected_to_one_tracer_does_not_hear_another(
    tracer: Tracer, db: Any, listen: Callable[..., Facts]
) -> None:
    facts = listen(sender=tracer.recorder)
    with Tracer(db.with_name("other.db")) as other:
        with tracer.run("mine"), other.run("not mine"):
            pass
    assert {fact["run"].name for _, fact in facts if "run" in fact} == {"mine"}


def test_a_receiver_nobody_keeps_is_forgotten_and_not_called(tracer: Tracer) -> None:
    heard: list[str] = []

    def short_lived(_: object, run: Any) -> None:
        heard.append(run.name)

    signals.run_started.connect(short_lived)
    with tracer.run("heard"):
        pass
    del short_lived
    gc.collect()
    with tracer.run("not heard"):
        pass
    assert heard == ["heard"]


def test_totals_are_in_when_a_call_or_run_is_told_to_have_ended(
    tracer: Tracer, listen: Callable[..., Facts]
) -> None:
    costs: list[int] = []

    def hear(_: object, run: Any) -> None:
        costs.append(run.cost_nano_usd)

    with signals.run_updated.connected_to(hear), signals.run_ended.connected_to(hear):
        with tracer.run("agent") as run:
            for key in ("one", "two"):
                tracer.recorder.open_llm(key, parent=run.key, model="gpt-4o")
                tracer.recorder.close_llm(key, usage=Usage(output_tokens=100))
    assert costs == [1_000_000, 2_000_000, 2_000_000]
