"""How runs went: the answer to `tokentrace metrics`.

A task is a run. It is counted when it is over, with all that is in it, in the time in which it began. Grouped by, or narrowed to,
what a run has several of (agent, step name, model, provider), cost, tokens, steps and tools are those of that part of the
run; success, latency and fallback are those of the run, and so is the final step, if it is in that part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace as changed

from tokentrace_core.analysis.days import told_by_days
from tokentrace_core.analysis.dimensions import (
    ATTRIBUTE,
    NONE,
    OF_RUN,
    OF_STEP,
    TAG,
    TOOL,
    UNKNOWN,
    attribute,
    canonical,
)
from tokentrace_core.analysis.kinds import picked, tags_of, taken
from tokentrace_core.analysis.measured import COLUMNS, Measured
from tokentrace_core.analysis.measured_days import GROUPS, MeasuredDays, MeasuredKind
from tokentrace_core.analysis.measuring import Models, metrics_of
from tokentrace_core.analysis.metric_figures import Metrics
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.synopses import Facts, Runs, only_in, runs_begun
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import OWN_COST, Model, Part, StepSums, Synopsis

Key = tuple[str, ...]
#: Where a run's tags are among its facts.
_TAGS = len(COLUMNS)
#: Runs that are measured together, before they leave the processor's cache.
_MANY = 300
#: What a run has several of, and its synopsis tells apart.
_OF_PART = (*OF_STEP, "provider", "model")
_SINGLE = "metrics can be grouped by one of agent, step-name, model, provider, tag and attr.KEY at a time"


def metrics(
    reader: Reader, by: Sequence[str] = (), scope: Scope | None = None, book: PriceBook | None = None
) -> list[Metrics]:
    """Of all runs of a scope, or of each group; most runs first. `book`: who knows the models' windows.

    Raises ValueError for a dimension that there is not, and for more than one of those that a run has several of.
    """
    scope = scope or Scope()
    names = tuple(dict.fromkeys(map(canonical, by)))
    several = [name for name in names if name not in OF_RUN]
    if len(several) > 1:
        raise ValueError(f"{_SINGLE}, not by {' and '.join(several)}.")
    if unfit := [name for name in several if name in (TOOL, "status")]:
        raise ValueError(f"metrics cannot be grouped by {unfit[0]}: see the tools of each group.")
    question = _Question(names, several[0] if several else None, Models(book or PriceBook.default()))
    for part in _parts(reader, question.several, scope):
        question.add(reader, *part)
    found = question.groups()
    return sorted(found, key=lambda group: (-group.runs, group.key))


class _Question:
    """Groups in the making."""

    def __init__(self, names: tuple[str, ...], several: str | None, models: Models) -> None:
        self._names, self.several, self._models = names, several, models
        self._of_run = [name for name in names if name in OF_RUN]
        self._place = None if several is None else names.index(several)
        self._found: dict[Key, Measured] = {}
        self._waiting: dict[Key, list[tuple[Facts, Synopsis]]] = defaultdict(list)
        self._runs = 0
        if not names:
            self._group(())

    def groups(self) -> list[Metrics]:
        return [metrics_of(group, self._models, key) for key, group in self._found.items()]

    def add(self, reader: Reader, scope: Scope, value: str | None) -> None:
        """All runs of a scope. `value`: of the dimension that runs have several of, if the scope tells it."""
        if GROUPS.issuperset(self._names) and GROUPS.issuperset(scope.where):
            told = told_by_days(reader, scope, MeasuredDays(), by_start=True)
            self._join(told.entries, scope)
            for begun in told.rest:
                self._read(reader, replace(scope, since=begun.since, until=begun.until), value)
        else:
            self._read(reader, scope, value)
        self._measure()

    def _join(self, digests: Iterable[MeasuredKind], scope: Scope) -> None:
        takes, of_run = taken(scope.where), picked(self._of_run)
        tags = picked([TAG])
        for of_kind in digests:
            if takes(of_kind.facts):
                labels = tags_of(*tags(of_kind.facts)) if self.several == TAG else [None]
                for label in labels:
                    self._group(self._key(of_run(of_kind.facts), label)).join(of_kind.measured)

    def _read(self, reader: Reader, scope: Scope, value: str | None) -> None:
        columns = [*COLUMNS, "r.tags", *(OF_RUN[name] for name in self._of_run)]
        narrow = _narrowing(scope)
        for runs in runs_begun(reader, scope, columns, Synopsis, only_in(reader, scope)):
            if not self._names and narrow is None:
                self._group(()).add(*runs)
            else:
                self._sort(runs, narrow, value)

    def _sort(
        self, runs: Runs[Synopsis], narrow: Callable[[Synopsis], Synopsis | None] | None, value: str | None
    ) -> None:
        """Lay the runs of each group together: some hundred runs, before they are measured."""
        for facts, whole in zip(*runs, strict=True):
            synopsis = narrow(whole) if narrow else whole
            if synopsis is None:
                continue
            for label, part in self._split(synopsis, facts[_TAGS], value):
                self._waiting[self._key(facts[_TAGS + 1 :], label)].append((facts, part))
        self._runs += len(runs.synopses)
        if self._runs > _MANY:
            self._measure()

    def _measure(self) -> None:
        for key, runs in self._waiting.items():
            self._group(key).add(*zip(*runs, strict=True))
        self._waiting.clear()
        self._runs = 0

    def _split(
        self, synopsis: Synopsis, tags: str | None, value: str | None
    ) -> Iterable[tuple[str | None, Synopsis]]:
        name = self.several
        if name is None or name.startswith(ATTRIBUTE):
            return ((value, synopsis),)
        if name == TAG:
            return [(tag, synopsis) for tag in tags_of(tags)]
        labelled = _labelled(name, synopsis.parts, synopsis.models)
        parts = [(label, _part(synopsis, taken)) for label, taken in labelled]
        return [(label, part) for label, part in parts if part is not None]

    def _key(self, of_run: Facts, label: str | None) -> Key:
        if self._place is None:
            return of_run
        return (*of_run[: self._place], label, *of_run[self._place :])

    def _group(self, key: Key) -> Measured:
        if key not in self._found:
            self._found[key] = Measured()
        return self._found[key]


def _parts(reader: Reader, several: str | None, scope: Scope) -> list[tuple[Scope, str | None]]:
    """The scope; by an attribute, one for each of its values, since no synopsis tells them."""
    if several is None or not several.startswith(ATTRIBUTE):
        return [(scope, None)]
    key, values = several.removeprefix(ATTRIBUTE), set()
    for selection in (scope.calls(), scope.tools()):
        row = "t" if "tool_calls t" in selection.source else "c"
        sql, parameters = selection.select(f"distinct {attribute(':key_of_group', row, 's', 'r')}")
        values |= {value for (value,) in reader.execute(sql, {**parameters, "key_of_group": key})}
    given = scope.where.get(several)
    return [
        (replace(scope, where={**scope.where, several: (value,)}), value)
        for value in sorted(values)
        if given is None or value in given
    ]


# ── a part of a run ──────────────────────────────────────────────────────────────────────────────────────


class _Taken(NamedTuple):
    """Which parts and which models of a run are in it."""

    parts: list[bool]
    models: list[bool]
    """And last: a step or tool without a call, whose model is -1."""
    all_named: bool
    """All but for those."""


def _narrowing(scope: Scope) -> Callable[[Synopsis], Synopsis | None] | None:
    wanted = tuple((name, frozenset(scope.where[name])) for name in _OF_PART if name in scope.where)
    if not wanted:
        return None
    return lambda synopsis: _part(synopsis, _taken(synopsis.parts, synopsis.models, wanted))


@lru_cache(10_000)
def _labelled(name: str, parts: tuple[Part, ...], models: tuple[Model, ...]) -> list[tuple[str, _Taken]]:
    """What there is of each value that the parts, or the models, of a run have."""
    if name in OF_STEP:
        labels = [part[name == "step-name"] or NONE for part in parts]
    else:
        labels = [model[name == "model"] or UNKNOWN for model in models if model[0] != OWN_COST]
    return [(label, _taken(parts, models, ((name, frozenset([label])),))) for label in dict.fromkeys(labels)]


@lru_cache(10_000)
def _taken(
    parts: tuple[Part, ...], models: tuple[Model, ...], wanted: tuple[tuple[str, frozenset[str]], ...]
) -> _Taken:
    values = dict(wanted)
    of_parts = [_has(values, OF_STEP, part, NONE) for part in parts]
    of_models = [_has(values, ("provider", "model"), model, UNKNOWN) for model in models]
    without = "model" not in values and "provider" not in values
    return _Taken(of_parts, [*of_models, without], all(of_parts) and all(of_models))


def _part(synopsis: Synopsis, taken: _Taken) -> Synopsis | None:
    """What of a run is in it; None if nothing is."""
    parts, models, steps = taken.parts, taken.models, synopsis.steps
    if taken.all_named and (
        models[-1] or not (-1 in steps.model or any(sums.model == -1 for sums in synopsis.tools))
    ):
        return synopsis if synopsis.calls or synopsis.tools or steps.nano else None
    calls = [sums for sums in synopsis.calls if parts[sums.part] and models[sums.model]]
    tools = [sums for sums in synopsis.tools if parts[sums.part] and models[sums.model]]
    places = [
        place
        for place, (part, model) in enumerate(zip(steps.part, steps.model, strict=True))
        if parts[part] and models[model]
    ]
    if not (calls or tools or places):
        return None
    columns = (steps.part, steps.model, steps.nano, steps.input_tokens)
    narrowed = StepSums(*([column[place] for place in places] for column in columns))
    narrowed.corrects = [number for number, place in enumerate(places) if place in steps.corrects]
    final = synopsis.final if synopsis.final and models[synopsis.final[0]] else None
    return changed(synopsis, calls=calls, tools=tools, steps=narrowed, final=final)


def _has(
    wanted: dict[str, frozenset[str]],
    names: Sequence[str] | dict[str, str],
    values: Sequence[str | None],
    nothing: str,
) -> bool:
    return all(
        (value or nothing) in wanted[name]
        for name, value in zip(names, values, strict=False)
        if name in wanted
    )
