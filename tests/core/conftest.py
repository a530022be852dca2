"""Fixtures of the core's tests: a recorder without a file, and an ear on everything it announces.

Every test that uses `recorder` also proves, at its end, what must hold of any trace: nothing stays open, every
span that was started ended exactly once, and a run's totals are the sums over its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from blinker import NamedSignal

from tokentrace_core import LLMCall, Run, Step, ToolCall, signals
from tokentrace_core.recorder import Recorder


class Ear:
    """Hears the signals of one recorder, in order."""

    def __init__(self, recorder: Recorder) -> None:
        self.events: list[tuple[str, Any]] = []
        self._receivers = [self._listen(signal, recorder) for signal in signals.CARRIES]

    def _listen(self, signal: NamedSignal, recorder: Recorder) -> Callable[..., None]:
        def hear(_: object, **fact: Any) -> None:
            self.events.append((signal.name, fact[signals.CARRIES[signal]]))

        signal.connect(hear, sender=recorder)
        return hear

    def told(self, name: str) -> list[Any]:
        """The spans that a signal carried."""
        return [span for told, span in self.events if told == name]

    @property
    def runs(self) -> list[Run]:
        """Every run, once, as it was told last; one that resumes is told again."""
        return list({run.id: run for run in self.told("run-started")}.values())

    @property
    def steps(self) -> list[Step]:
        return self.told("step-started")

    @property
    def llm_calls(self) -> list[LLMCall]:
        return self.told("llm-call-started")

    @property
    def tool_calls(self) -> list[ToolCall]:
        return self.told("tool-call-started")

    def check(self) -> None:
        """What must hold of everything that was recorded, once all is closed."""
        for kind in ("step", "llm-call", "tool-call"):
            started = [span.id for span in self.told(f"{kind}-started")]
            ended = [span.id for span in self.told(f"{kind}-ended")]
            assert sorted(started) == sorted(ended), f"each {kind} ends exactly once"
            assert len(set(started)) == len(started)
        for span in [*self.steps, *self.llm_calls, *self.tool_calls, *self.runs]:
            assert span.status not in ("running", "refused")
            assert span.ended_at is not None
            assert span.ended_at >= span.started_at
        begun = len(self.told("run-started"))
        assert begun == len(self.told("run-ended")) + len(self.told("run-waiting"))
        of_runs: dict[str, tuple[list[Step], list[LLMCall], list[ToolCall]]] = {
            run.id: ([], [], []) for run in self.runs
        }
        for place, spans in enumerate((self.steps, self.llm_calls, self.tool_calls)):
            for span in spans:
                of_runs[span.run_id][place].append(span)
        for run in self.runs:
            self._check_totals(run, *of_runs[run.id])

    @staticmethod
    def _check_totals(
        run: Run, steps: list[Step], llm_calls: list[LLMCall], tool_calls: list[ToolCall]
    ) -> None:
        assert run.llm_calls == len(llm_calls)
        assert run.tool_calls == len(tool_calls)
        assert [step.number for step in steps] == list(range(1, run.steps + 1))
        assert run.cost_nano_usd == sum(call.cost_nano_usd or 0 for call in [*llm_calls, *tool_calls])
        assert run.output_tokens == sum(call.output_tokens or 0 for call in llm_calls)
        assert run.cached_tokens == sum(call.cache_read_tokens or 0 for call in llm_calls)
        assert run.unpriced_calls == sum(call.cost_status == "unpriced" for call in llm_calls)
        assert run.estimated_calls == sum(call.usage_source == "estimated" for call in llm_calls)
        known = {step.id for step in steps}
        assert {call.step_id for call in [*llm_calls, *tool_calls]} <= known, (
            "every call has a step of its run"
        )


@pytest.fixture
def make_recorder() -> Iterator[Callable[..., tuple[Recorder, Ear]]]:
    """Recorders with their ears; all that they recorded is checked at the end."""
    made: list[tuple[Recorder, Ear]] = []

    def make(**rules: Any) -> tuple[Recorder, Ear]:
        recorder = Recorder(**rules)
        made.append((recorder, Ear(recorder)))
        return made[-1]

    yield make
    for recorder, ear in made:
        recorder.close_all()
        assert recorder.open_parts == 0
        ear.check()


@pytest.fixture
def recorder_and_ear(make_recorder: Callable[..., tuple[Recorder, Ear]]) -> tuple[Recorder, Ear]:
    return make_recorder()


@pytest.fixture
def recorder(recorder_and_ear: tuple[Recorder, Ear]) -> Recorder:
    """A recorder without budget and without a file."""
    return recorder_and_ear[0]


@pytest.fixture
def ear(recorder_and_ear: tuple[Recorder, Ear]) -> Ear:
    """What `recorder` announced."""
    return recorder_and_ear[1]
