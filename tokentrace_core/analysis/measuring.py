"""From synopses to metrics: one pass over the runs, a few numbers of each.

There may be a million: so what can be is taken from many at once, a column at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, chain, compress, islice
from operator import add, sub

from tokentrace_core.analysis.distribution import distribution
from tokentrace_core.analysis.metric_figures import LATE, LOOP, Metrics, StepMetrics, ToolMetrics
from tokentrace_core.analysis.synopses import Facts
from tokentrace_core.price_list import look_up
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.synopsis import CallSums, Model, StepSums, Synopsis

#: Of a run (r), for `Measuring.add`.
COLUMNS = ("r.status", "r.started_at", "r.ended_at", "coalesce(r.waiting_ms, 0)")
_UNFINISHED = frozenset({"running", "waiting"})


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

    def add(self, facts: Sequence[Facts], synopses: Sequence[Synopsis]) -> None:
        """Runs. `facts`: the `COLUMNS` of each, and what may come after them."""
        statuses, began, ended, waited = islice(zip(*facts, strict=True), len(COLUMNS))
        if not _UNFINISHED.isdisjoint(statuses):
            over = [status not in _UNFINISHED for status in statuses]
            self._unfinished += over.count(False)
            if any(over):
                self.add(list(compress(facts, over)), list(compress(synopses, over)))
            return
        self._runs += len(synopses)
        self._successes += statuses.count("success")
        self._latencies += [
            (end - start) / 1_000 - waiting
            for start, end, waiting in zip(began, ended, waited, strict=True)
            if end is not None
        ]
        self._add_models(synopses)
        self._add_calls(synopses)
        self._add_steps(synopses)
        self._add_tools(synopses)

    def _add_models(self, synopses: Sequence[Synopsis]) -> None:
        models = self._models
        found = [(synopsis, *models[synopsis.models]) for synopsis in synopses]
        self._fallbacks += sum([is_other or bool(run.falls_back) for run, is_other, _ in found])
        self._utilization += [
            run.final[1] / window
            for run, _, windows in found
            if run.final and (window := windows[run.final[0]])
        ]

    def _add_calls(self, synopses: Sequence[Synopsis]) -> None:
        calls = [synopsis.calls for synopsis in synopses]
        columns = zip(*chain.from_iterable(calls), strict=True)  # none, if there are no calls
        of: dict[str, tuple[int, ...]] = defaultdict(tuple, zip(CallSums._fields, columns, strict=False))
        self._input += sum(of["input_tokens"])
        self._cached += sum(of["cached_tokens"])
        self._output += sum(of["output_tokens"])
        self._unpriced += sum(of["unpriced_calls"])
        self._estimated += sum(of["estimated_calls"])
        spent = list(accumulate(of["nano"], initial=0))
        until = [spent[last] for last in accumulate(map(len, calls))]
        self._costs += map(sub, until, [0, *until])

    def _add_steps(self, synopses: Sequence[Synopsis]) -> None:
        steps = [synopsis.steps for synopsis in synopses]
        counts = [len(of_run.nano) for of_run in steps]
        self._steps += counts
        self._corrections += sum([len(of_run.corrects) for of_run in steps if of_run.corrects])
        by_length: dict[int, list[StepSums]] = defaultdict(list)
        for count, of_run in zip(counts, steps, strict=True):
            by_length[count].append(of_run)
        for count, alike in by_length.items():
            if count:
                self._add_steps_alike(count, alike)

    def _add_steps_alike(self, count: int, alike: list[StepSums]) -> None:
        """Of runs that have so many steps each."""
        if count > len(self._nano):
            more = [0] * (count - len(self._nano))
            self._nano += more
            self._prompts += more
            self._reached += more
            self._so_far += more
            self._firsts += more
        nano = list(map(sum, zip(*[steps.nano for steps in alike], strict=True)))
        prompts = map(sum, zip(*[steps.input_tokens for steps in alike], strict=True))
        self._reached[count - 1] += len(alike)  # summed up from the back at the end
        self._firsts[count - 1] += nano[0]
        self._nano[:count] = map(add, self._nano, nano)
        self._so_far[:count] = map(add, self._so_far, accumulate(nano))
        self._prompts[:count] = map(add, self._prompts, prompts)

    def _add_tools(self, synopses: Sequence[Synopsis]) -> None:
        for tools in [synopsis.tools for synopsis in synopses if synopsis.tools]:
            called: set[str] = set()
            looped: set[str] = set()
            for sums in tools:
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


class Models(dict[tuple[Model, ...], tuple[bool, list[int | None]]]):
    """What is known beyond the file of the models of a run: whether one answered for another, and the window of each."""

    def __init__(self, book: PriceBook) -> None:
        super().__init__()
        self._window: Callable[[str | None, str | None], int | None] = cache(
            lambda provider, model: book.context_window(model, provider=provider) if model else None
        )
        self._is_another: Callable[[Model], bool] = cache(_is_another)

    def __missing__(self, models: tuple[Model, ...]) -> tuple[bool, list[int | None]]:
        windows = [self._window(provider, model) for provider, model, _ in models]
        self[models] = found = any(map(self._is_another, models)), windows
        return found


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
