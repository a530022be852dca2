"""How runs went: the answer to `tokentrace metrics`.

A task is a run. It is counted when it is over, with all that is in it, in the time in which it began. Grouped by, or narrowed to,
what a run has several of (agent, step name, model, provider), cost, tokens, steps and tools are those of that part of the
run; success, latency and fallback are those of the run, and so is the final step, if it is in that part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from msgspec.structs import replace as changed

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
from tokentrace_core.analysis.measuring import COLUMNS, Measuring, Models
from tokentrace_core.analysis.metric_figures import Metrics
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.synopses import Facts, only_in, runs_begun
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.synopsis import OWN_COST, StepSums, Synopsis

Key = tuple[str, ...]
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
        self._found: dict[Key, Measuring] = {}
        if not names:
            self._group(())

    def groups(self) -> list[Metrics]:
        return [group.metrics() for group in self._found.values()]

    def add(self, reader: Reader, scope: Scope, value: str | None) -> None:
        """All runs of a scope. `value`: of the dimension that runs have several of, if the scope tells it."""
        columns = [*COLUMNS, "r.tags", *(OF_RUN[name] for name in self._of_run)]
        narrow = _narrowing(scope)
        found = runs_begun(reader, scope, columns, Synopsis, only_in(reader, scope))
        for facts, whole in chain.from_iterable(zip(*runs, strict=True) for runs in found):
            synopsis = narrow(whole) if narrow else whole
            if synopsis is None:
                continue
            status, started_at, ended_at, waiting_ms, tags = facts[:5]
            for label, part in self._split(synopsis, tags, value):
                group = self._group(self._key(facts[5:], label))
                group.add(status, started_at, ended_at, waiting_ms, part)

    def _split(
        self, synopsis: Synopsis, tags: str | None, value: str | None
    ) -> Iterator[tuple[str | None, Synopsis]]:
        name = self.several
        if name is None or name.startswith(ATTRIBUTE):
            yield value, synopsis
        elif name == TAG:
            for tag in dict.fromkeys(json.loads(tags or "[]")) or [NONE]:
                yield tag, synopsis
        else:
            for label in dict.fromkeys(_labels(synopsis, name)):
                part = _part(synopsis, {name: frozenset([label])})
                if part is not None:
                    yield label, part

    def _key(self, of_run: Facts, label: str | None) -> Key:
        if not self._names:
            return ()
        values: dict[str | None, Any] = dict(zip(self._of_run, of_run, strict=True))
        values[self.several] = label
        return tuple(values[name] for name in self._names)

    def _group(self, key: Key) -> Measuring:
        if key not in self._found:
            self._found[key] = Measuring(self._models, key)
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


def _narrowing(scope: Scope) -> Callable[[Synopsis], Synopsis | None] | None:
    wanted = {name: frozenset(scope.where[name]) for name in _OF_PART if name in scope.where}
    return (lambda synopsis: _part(synopsis, wanted)) if wanted else None


def _labels(synopsis: Synopsis, name: str) -> list[str]:
    """The values that the parts, or the models, of a run have."""
    if name in OF_STEP:
        return [part[name == "step-name"] or NONE for part in synopsis.parts]
    return [model[name == "model"] or UNKNOWN for model in synopsis.models if model[0] != OWN_COST]


def _part(synopsis: Synopsis, wanted: dict[str, frozenset[str]]) -> Synopsis | None:
    """What of a run is in it; None if nothing is."""
    parts = [_has(wanted, OF_STEP, part, NONE) for part in synopsis.parts]
    models = [_has(wanted, ("provider", "model"), model, UNKNOWN) for model in synopsis.models]
    models.append("model" not in wanted and "provider" not in wanted)  # -1: a step or tool without a call

    calls = [sums for sums in synopsis.calls if parts[sums.part] and models[sums.model]]
    tools = [sums for sums in synopsis.tools if parts[sums.part] and models[sums.model]]
    steps = synopsis.steps
    places = [
        place
        for place, (part, model) in enumerate(zip(steps.part, steps.model, strict=True))
        if parts[part] and models[model]
    ]
    if not (calls or tools or places):
        return None
    columns = (steps.part, steps.model, steps.nano, steps.input_tokens)
    taken = StepSums(*([column[place] for place in places] for column in columns))
    taken.corrects = [number for number, place in enumerate(places) if place in steps.corrects]
    final = synopsis.final if synopsis.final and models[synopsis.final[0]] else None
    return changed(synopsis, calls=calls, tools=tools, steps=taken, final=final)


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
