"""CPU time of the whole process for some runs, background threads and the last flush included.

Runs without the recorder come first, in the same process: then it is attached, and the same is done again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.benchmarks import workload
from tests.benchmarks.attached import Attached, attach
from tests.benchmarks.samples import Place
from tests.benchmarks.samples.timing import Seconds, cpu

#: What is measured: the form of the work, the steps of a run, and how many runs.
Plan = tuple[str, int, int]
WARM_RUNS = 2
Work = Callable[[Attached | None], None]


def measure(place: Place, plans: list[Plan]) -> dict[str, Any]:
    bare = [_without(*plan) for plan in plans]
    works = [_work(*plan) for plan in plans]
    attached = attach(place)
    seconds = [_with(attached, work) for work in works]
    every, agents = (
        [of_all / _events(*plan) for of_all, plan in zip(by_plan, plans, strict=True)]
        for by_plan in zip(*seconds, strict=True)
    )
    told = sum(_told(attached, form, steps, runs) for form, steps, runs in plans)
    return {"bare": bare, "with": every, "thread": agents, "told": told, "stored": attached.stored()}


def _without(form: str, steps: int, runs: int) -> float:
    """Seconds per event of the work itself; a replay does none."""
    if form == "replay":
        return 0.0
    warm, work = _work(form, steps, runs)
    warm(None)
    return cpu(lambda: work(None)).process / _events(form, steps, runs)


def _with(attached: Attached, work: tuple[Work, Work]) -> Seconds:
    """CPU with the recorder."""
    warm, measured = work
    warm(attached)
    attached.flush()

    def all_of_it() -> None:
        measured(attached)
        attached.flush()

    return cpu(all_of_it)


def _work(form: str, steps: int, runs: int) -> tuple[Work, Work]:
    """What is done before, because it is done only once, and what is measured. A recorder must not hear the making."""
    if form == "replay":
        warm = [workload.recorded(warm_steps(steps)) for _ in range(WARM_RUNS)]
        return _replay(warm), _replay([workload.recorded(steps) for _ in range(runs)])
    warm_form, measured_form = workload.FORMS[form](warm_steps(steps)), workload.FORMS[form](steps)
    return _runs(warm_form, WARM_RUNS), _runs(measured_form, runs)


def _replay(conversations: list[list[workload.Event]]) -> Work:
    def tell(attached: Attached | None) -> None:
        handler = attached and attached.handler
        for conversation in conversations:
            workload.tell(handler, conversation)

    return tell


def _runs(work: workload.Work, runs: int) -> Work:
    def run(attached: Attached | None) -> None:
        callbacks = attached and attached.callbacks
        for _ in range(runs):
            work(callbacks)

    return run


def _events(form: str, steps: int, runs: int) -> int:
    return runs * 2 * workload.spans_of(form, steps)


def warm_steps(steps: int) -> int:
    return min(steps, 10)


def _told(attached: Attached, form: str, steps: int, runs: int) -> int:
    """Spans that the recorder should have of it."""
    count = workload.spans_of if attached.records_chains else workload.calls_of
    return runs * count(form, steps) + WARM_RUNS * count(form, warm_steps(steps))
