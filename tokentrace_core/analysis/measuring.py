"""From synopses to metrics: one pass over the runs, a few numbers of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from operator import add

from tokentrace_core.analysis.distribution import distribution
from tokentrace_core.analysis.metric_figures import LATE, LOOP, Metrics, StepMetrics, ToolMetrics
from tokentrace_core.price_list import look_up
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.synopsis import Synopsis

#: Of a run (r), for `Measuring.add`.
COLUMNS = ("r.status", "r.started_at", "r.ended_at", "coalesce(r.waiting_ms, 0)")
Model = tuple[str | None, str | None, str | None]


class _Tool:
    """What is known of one tool so far."""

    def __init__(self) -> None:
        self.calls = self.failures = self.retries = self.runs = self.loops = 0
        self.durations: list[int] = []


class Measuring:
    """One group in the making."""

    def __init__(self, models: Models, key: tuple[str, ...] = ()) -> None:
        self._key, self._models = key, models
        self._runs = self._unfinished = self._successes = 0
        self._steps: list[int] = []
        self._costs: list[int] = []
        self._latencies: list[float] = []
        self._utilization: list[float] = []
        self._input = self._cached = self._output = self._unpriced = self._estimated = 0
        self._fallbacks = self._loops = self._corrections = 0
        self._tools: dict[str, _Tool] = defaultdict(_Tool)
        self._reached: list[int] = []
        self._nano: list[int] = []
        self._prompts: list[int] = []
        self._so_far: list[int] = []
        self._firsts: list[int] = []
        """By the step's place, from 0: how many there are, what they cost, what was sent, what
        their runs had cost by then, and what the first steps of these had."""

    def add(
        self, status: str, started_at: int, ended_at: int | None, waiting_ms: int, synopsis: Synopsis
    ) -> None:
        if status in ("running", "waiting"):
            self._unfinished += 1
            return
        self._runs += 1
        self._successes += status == "success"
        if ended_at is not None:
            self._latencies.append((ended_at - started_at) / 1_000 - waiting_ms)
        self._fallbacks += bool(synopsis.falls_back) or any(map(self._models.is_another, synopsis.models))
        if synopsis.final:
            share = self._models.share_of_window(synopsis.models[synopsis.final[0]], synopsis.final[1])
            if share is not None:
                self._utilization.append(share)
        self._add_calls(synopsis)
        self._add_steps(synopsis)
        self._add_tools(synopsis)

    def _add_calls(self, synopsis: Synopsis) -> None:
        cost = 0
        for sums in synopsis.calls:
            cost += sums.nano
            self._input += sums.input_tokens
            self._cached += sums.cached_tokens
            self._output += sums.output_tokens
            self._unpriced += sums.unpriced_calls
            self._estimated += sums.estimated_calls
        self._costs.append(cost)

    def _add_steps(self, synopsis: Synopsis) -> None:
        steps = synopsis.steps
        count = len(steps.nano)
        self._steps.append(count)
        self._corrections += len(steps.corrects)
        if count > len(self._nano):
            more = [0] * (count - len(self._nano))
            self._nano += more
            self._prompts += more
            self._reached += more
            self._so_far += more
            self._firsts += more
        if count:
            self._reached[count - 1] += 1  # summed up from the back at the end
            self._firsts[count - 1] += steps.nano[0]
        self._nano[:count] = map(add, self._nano, steps.nano)
        self._so_far[:count] = map(add, self._so_far, accumulate(steps.nano))
        self._prompts[:count] = map(add, self._prompts, steps.input_tokens)

    def _add_tools(self, synopsis: Synopsis) -> None:
        called: set[str] = set()
        looped: set[str] = set()
        for sums in synopsis.tools:
            tool = self._tools[sums.name]
            tool.calls += sums.calls
            tool.failures += sums.failures
            tool.retries += sums.retries
            tool.durations += sums.durations
            if sums.name not in called:
                called.add(sums.name)
                tool.runs += 1
            if sums.most >= LOOP and sums.name not in looped:
                looped.add(sums.name)
                tool.loops += 1
        self._loops += bool(looped)

    # ── what comes of it ─────────────────────────────────────────────────────────────────────────────

    def metrics(self) -> Metrics:
        steps = self._by_number()
        late = range(LATE - 1, len(steps))
        return Metrics(
            key=self._key,
            runs=self._runs,
            unfinished=self._unfinished,
            success_rate=_part(self._successes, self._runs) or 0.0,
            steps=distribution(self._steps),
            cost_nano_usd=distribution(self._costs),
            latency_ms=distribution(self._latencies),
            token_efficiency=_part(self._output, self._input),
            cache_hit_rate=_part(self._cached, self._input),
            context_utilization=distribution(self._utilization),
            fallback_rate=_part(self._fallbacks, self._runs),
            loop_rate=_part(self._loops, self._runs),
            self_correction_rate=_part(self._corrections, sum(self._steps)),
            late_step_nano_usd=_part(
                sum(self._nano[place] for place in late), sum(steps[place].runs for place in late)
            ),
            steps_by_number=steps,
            tools=sorted(map(self._tool, self._tools), key=lambda tool: (-tool.calls, tool.name)),
            unpriced_calls=self._unpriced,
            estimated_calls=self._estimated,
        )

    def _by_number(self) -> list[StepMetrics]:
        found: list[StepMetrics] = []
        came, first = sum(self._reached), sum(self._firsts)
        for place, ended_here in enumerate(self._reached):
            mean = self._nano[place] / came
            found.append(
                StepMetrics(
                    place + 1, came, mean, self._prompts[place] / came, _part(self._so_far[place], first)
                )
            )
            came -= ended_here
            first -= self._firsts[place]
        return found

    def _tool(self, name: str) -> ToolMetrics:
        tool = self._tools[name]
        latencies = distribution(tool.durations)
        in_ms = {
            part: figure / 1_000
            for part in ("p50", "p99", "mean", "max", "total")
            if (figure := getattr(latencies, part)) is not None
        }
        return ToolMetrics(
            name=name,
            calls=tool.calls,
            runs=tool.runs,
            calls_per_run=tool.calls / self._runs,
            error_rate=tool.failures / tool.calls,
            retry_rate=_part(tool.retries, tool.calls - tool.retries),
            loop_rate=tool.loops / self._runs,
            latency_ms=type(latencies)(latencies.count, **in_ms),
        )


class Models:
    """What is known of models beyond the file: their windows, and whether two names mean the same."""

    def __init__(self, book: PriceBook) -> None:
        self._window: Callable[[str | None, str | None], int | None] = cache(
            lambda provider, model: book.context_window(model, provider=provider) if model else None
        )
        self.is_another: Callable[[Model], bool] = cache(_is_another)

    def share_of_window(self, model: Model, tokens: int) -> float | None:
        window = self._window(model[0], model[1])
        return tokens / window if window else None


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
