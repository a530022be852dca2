"""From what was measured of runs to metrics, with what is known beyond the file: of models, and of their windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache

from tokentrace_core.analysis.distribution import distribution
from tokentrace_core.analysis.measured import Measured, MeasuredSteps, MeasuredTool
from tokentrace_core.analysis.metric_figures import LATE, Metrics, StepMetrics, ToolMetrics
from tokentrace_core.analysis.ordered import Numbers
from tokentrace_core.price_list import look_up
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.synopsis import Model

_US_IN_MS = 1_000


class Models:
    """What is known of models, each asked about once."""

    def __init__(self, book: PriceBook) -> None:
        self.window: Callable[[str | None, str | None], int | None] = cache(
            lambda provider, model: book.context_window(model, provider=provider) if model else None
        )
        """Tokens, by provider and model; None if nobody says."""
        self.is_another: Callable[[Model], bool] = cache(_is_another)


def metrics_of(measured: Measured, models: Models, key: tuple[str, ...]) -> Metrics:
    """Of one group."""
    counts = measured.counts
    steps = _by_number(measured.by_place)
    late = range(LATE - 1, len(steps))
    return Metrics(
        key=key,
        runs=counts.runs,
        unfinished=counts.unfinished,
        success_rate=_part(counts.successes, counts.runs) or 0.0,
        steps=distribution((measured.steps, 1)),
        cost_nano_usd=distribution((measured.costs, 1)),
        latency_ms=distribution((measured.latencies, _US_IN_MS)),
        token_efficiency=_part(counts.output_tokens, counts.input_tokens),
        cache_hit_rate=_part(counts.cached_tokens, counts.input_tokens),
        context_utilization=distribution(*_by_window(measured.finals, models)),
        fallback_rate=_part(counts.falls_back + _answered_by_another(measured.models, models), counts.runs),
        loop_rate=_part(counts.loops, counts.runs),
        self_correction_rate=_part(counts.corrections, measured.steps.total),
        late_step_nano_usd=_part(
            sum(measured.by_place.nano[place] for place in late), sum(steps[place].runs for place in late)
        ),
        steps_by_number=steps,
        tools=sorted(
            (_tool(name, tool, counts.runs) for name, tool in measured.tools.items()),
            key=lambda tool: (-tool.calls, tool.name),
        ),
        unpriced_calls=counts.unpriced_calls,
        estimated_calls=counts.estimated_calls,
    )


def _by_number(places: MeasuredSteps) -> list[StepMetrics]:
    found: list[StepMetrics] = []
    came, first = sum(places.ended), sum(places.firsts)
    for place, ended_here in enumerate(places.ended):
        nano, sent = places.nano[place] / came, places.sent[place] / came
        found.append(StepMetrics(place + 1, came, nano, sent, _part(places.so_far[place], first)))
        came -= ended_here
        first -= places.firsts[place]
    return found


def _by_window(finals: dict[Model, Numbers], models: Models) -> list[tuple[Numbers, int]]:
    found: dict[int, Numbers] = defaultdict(Numbers)
    for (provider, model, _), prompts in finals.items():
        if window := models.window(provider, model):
            found[window].join(prompts)
    return [(prompts, window) for window, prompts in found.items()]


def _answered_by_another(runs: dict[tuple[Model, ...], int], models: Models) -> int:
    return sum(count for asked, count in runs.items() if any(map(models.is_another, asked)))


def _tool(name: str, tool: MeasuredTool, runs: int) -> ToolMetrics:
    return ToolMetrics(
        name=name,
        calls=tool.calls,
        runs=tool.runs,
        calls_per_run=tool.calls / runs,
        error_rate=tool.failures / tool.calls,
        retry_rate=_part(tool.retries, tool.calls - tool.retries),
        loop_rate=tool.loops / runs,
        latency_ms=distribution((tool.durations, _US_IN_MS)),
    )


def _is_another(model: Model) -> bool:
    """Whether the model that answered is surely another than was asked: the price list knows both, by other ids.

    A name that moves with the time ("…-latest") is no promise of a model, so no answer to it is another one's.
    """
    provider, asked, answered = model
    if not asked or not answered or "latest" in asked:
        return False
    listed = [look_up(name, provider) or look_up(name, None) for name in (asked, answered)]
    return all(listed) and listed[0].id != listed[1].id  # type: ignore[union-attr]


def _part(part: float, whole: float) -> float | None:
    return part / whole if whole else None
