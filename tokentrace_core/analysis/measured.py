"""What is measured of runs, before figures are made of it: counts, sums and numbers, which can be laid together.

One pass over the runs, a few numbers of each. There may be a million: so what can be is taken from many at once, a column at
a time. Nothing here rests on more than the file: what models are, and how much they take, may be known better tomorrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, chain, compress, islice, zip_longest
from operator import add, attrgetter, sub

from msgspec import Struct, field
from msgspec.structs import astuple, replace

from tokentrace_core.analysis.metric_figures import LOOP
from tokentrace_core.analysis.ordered import Numbers
from tokentrace_core.analysis.synopses import Facts
from tokentrace_core.store.synopsis import CallSums, Model, StepSums, Synopsis

#: Of a run (r), for `Measured.add`.
COLUMNS = ("r.status", "r.started_at", "r.ended_at", "coalesce(r.waiting_ms, 0)")
_UNFINISHED = frozenset({"running", "waiting"})


class MeasuredTool(Struct, array_like=True):
    """One tool."""

    calls: int = 0
    failures: int = 0
    retries: int = 0
    runs: int = 0
    loops: int = 0
    durations: Numbers = field(default_factory=Numbers)
    """In microseconds."""

    def join(self, other: MeasuredTool) -> None:
        self.calls += other.calls
        self.failures += other.failures
        self.retries += other.retries
        self.runs += other.runs
        self.loops += other.loops
        self.durations.join(other.durations)

    def in_order(self) -> MeasuredTool:
        return replace(self, durations=self.durations.in_order())


class Counts(Struct, array_like=True):
    """What only adds up."""

    runs: int = 0
    unfinished: int = 0
    successes: int = 0
    falls_back: int = 0
    loops: int = 0
    corrections: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    unpriced_calls: int = 0
    estimated_calls: int = 0

    def joined(self, other: Counts) -> Counts:
        return Counts(*map(add, astuple(self), astuple(other)))


class MeasuredSteps(Struct, array_like=True):
    """By the step's place, from 0."""

    ended: list[int] = field(default_factory=list)
    """Runs of which it was the last."""
    nano: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    so_far: list[int] = field(default_factory=list)
    """What their runs had cost by then."""
    firsts: list[int] = field(default_factory=list)
    """What the first steps had cost of the runs of which it was the last."""

    def joined(self, other: MeasuredSteps) -> MeasuredSteps:
        both = zip(astuple(self), astuple(other), strict=True)
        return MeasuredSteps(
            *([sum(of_place) for of_place in zip_longest(*each, fillvalue=0)] for each in both)
        )


class Measured(Struct, array_like=True):
    """Some runs."""

    counts: Counts = field(default_factory=Counts)
    steps: Numbers = field(default_factory=Numbers)
    costs: Numbers = field(default_factory=Numbers)
    latencies: Numbers = field(default_factory=Numbers)
    """In microseconds."""
    finals: dict[Model, Numbers] = field(default_factory=lambda: defaultdict(Numbers))
    """Tokens of the last prompt, by the model that it went to."""
    models: dict[tuple[Model, ...], int] = field(default_factory=lambda: defaultdict(int))
    """Runs that did not fall back by their calls, by the models that they have."""
    by_place: MeasuredSteps = field(default_factory=MeasuredSteps)
    tools: dict[str, MeasuredTool] = field(default_factory=lambda: defaultdict(MeasuredTool))

    def add(self, facts: Sequence[Facts], synopses: Sequence[Synopsis]) -> None:
        """Runs. `facts`: the `COLUMNS` of each, and what may come after them."""
        statuses, began, ended, waited = islice(zip(*facts, strict=True), len(COLUMNS))
        if not _UNFINISHED.isdisjoint(statuses):
            over = [status not in _UNFINISHED for status in statuses]
            self.counts.unfinished += over.count(False)
            if any(over):
                self.add(list(compress(facts, over)), list(compress(synopses, over)))
            return
        self.counts.runs += len(synopses)
        self.counts.successes += statuses.count("success")
        self.latencies.loose += [
            end - start - 1_000 * waiting
            for start, end, waiting in zip(began, ended, waited, strict=True)
            if end is not None
        ]
        self._add_models(synopses)
        self._add_calls(synopses)
        self._add_steps(synopses)
        self._add_tools(synopses)

    def join(self, other: Measured) -> None:
        """Other runs, as they were measured."""
        self.counts = self.counts.joined(other.counts)
        self.steps.join(other.steps)
        self.costs.join(other.costs)
        self.latencies.join(other.latencies)
        for model, prompts in other.finals.items():
            self.finals[model].join(prompts)
        for models, runs in other.models.items():
            self.models[models] += runs
        self.by_place = self.by_place.joined(other.by_place)
        for name, tool in other.tools.items():
            self.tools[name].join(tool)

    def in_order(self) -> Measured:
        """The same, to be kept. Raises OverflowError if there is a number that is larger than 64 bits."""
        return replace(
            self,
            steps=self.steps.in_order(),
            costs=self.costs.in_order(),
            latencies=self.latencies.in_order(),
            finals={model: prompts.in_order() for model, prompts in self.finals.items()},
            tools={name: tool.in_order() for name, tool in self.tools.items()},
        )

    # ── a column at a time ───────────────────────────────────────────────────────────────────────────

    def _add_models(self, synopses: Sequence[Synopsis]) -> None:
        falls_back = [bool(run.falls_back) for run in synopses]
        self.counts.falls_back += sum(falls_back)
        for models, falls in zip(map(attrgetter("models"), synopses), falls_back, strict=True):
            self.models[models] += not falls
        finals = self.finals
        for run in synopses:
            if run.final:
                finals[run.models[run.final[0]]].loose.append(run.final[1])

    def _add_calls(self, synopses: Sequence[Synopsis]) -> None:
        calls = [synopsis.calls for synopsis in synopses]
        columns = zip(*chain.from_iterable(calls), strict=True)  # none, if there are no calls
        of: dict[str, tuple[int, ...]] = defaultdict(tuple, zip(CallSums._fields, columns, strict=False))
        counts = self.counts
        counts.input_tokens += sum(of["input_tokens"])
        counts.cached_tokens += sum(of["cached_tokens"])
        counts.output_tokens += sum(of["output_tokens"])
        counts.unpriced_calls += sum(of["unpriced_calls"])
        counts.estimated_calls += sum(of["estimated_calls"])
        spent = list(accumulate(of["nano"], initial=0))
        until = [spent[last] for last in accumulate(map(len, calls))]
        self.costs.loose += map(sub, until, [0, *until])

    def _add_steps(self, synopses: Sequence[Synopsis]) -> None:
        steps = [synopsis.steps for synopsis in synopses]
        lengths = [len(of_run.nano) for of_run in steps]
        self.steps.loose += lengths
        self.counts.corrections += sum([len(of_run.corrects) for of_run in steps if of_run.corrects])
        by_length: dict[int, list[StepSums]] = defaultdict(list)
        for length, of_run in zip(lengths, steps, strict=True):
            by_length[length].append(of_run)
        for length, alike in by_length.items():
            if length:
                self._add_steps_alike(length, alike)

    def _add_steps_alike(self, length: int, alike: list[StepSums]) -> None:
        """Of runs that have so many steps each."""
        nano = list(map(sum, zip(*[steps.nano for steps in alike], strict=True)))
        sent = list(map(sum, zip(*[steps.input_tokens for steps in alike], strict=True)))
        before = [0] * (length - 1)
        ended, firsts = [*before, len(alike)], [*before, nano[0]]
        self.by_place = self.by_place.joined(MeasuredSteps(ended, nano, sent, list(accumulate(nano)), firsts))

    def _add_tools(self, synopses: Sequence[Synopsis]) -> None:
        for tools in [synopsis.tools for synopsis in synopses if synopsis.tools]:
            called: set[str] = set()
            looped: set[str] = set()
            for sums in tools:
                tool = self.tools[sums.name]
                tool.calls += sums.calls
                tool.failures += sums.failures
                tool.retries += sums.retries
                tool.durations.loose += sums.durations
                if sums.name not in called:
                    called.add(sums.name)
                    tool.runs += 1
                if sums.most >= LOOP and sums.name not in looped:
                    looped.add(sums.name)
                    tool.loops += 1
            self.counts.loops += bool(looped)
