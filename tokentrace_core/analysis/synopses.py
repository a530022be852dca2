"""The runs of a scope with their synopses: what sums and metrics are made of.

Most are read as the writer left them. Summed up here, from their rows, are the runs that have none, and those of which a question
takes only some calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from tokentrace_core.analysis.dimensions import ATTRIBUTE, OF_RUN, TAG, TOOL
from tokentrace_core.analysis.scope import Scope, Selection
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.summary import of_run
from tokentrace_core.store.synopsis import Costs

S = TypeVar("S", bound=Costs)
Facts = tuple[Any, ...]
Only = Callable[[str, int], bool]
"""Whether a call is taken, by its id and its start."""


def runs_begun(
    reader: Reader, scope: Scope, columns: Sequence[str], shape: type[S], only: dict[str, Only] | None = None
) -> Iterator[tuple[Facts, S]]:
    """Runs that began in the time, whole. `columns`: SQL over the run (r). `only`: run id -> what to take; no others."""
    runs = _of_runs(scope).runs()
    known = reader.columns("runs")
    if "expired" in known and "synopsis" in known:  # a trace that has gone without one is not known any more
        runs = runs._replace(
            condition=f"{runs.condition} and (r.expired is not 'trace' or r.synopsis is not null)"
        )
    decode = msgspec.json.Decoder(shape).decode
    for run_id, text, *facts in reader.execute(*_select(reader, runs, columns)):
        if only is None:
            yield tuple(facts), _read(decode, text) or _summed_up(reader, run_id)
        elif run_id in only:
            yield tuple(facts), _summed_up(reader, run_id, only[run_id])


def runs_touched(
    reader: Reader, scope: Scope, columns: Sequence[str], shape: type[S]
) -> Iterator[tuple[Facts, S]]:
    """Runs with what was spent in the time, whenever they began. Not those whose traces have gone."""
    since, until = scope.since, scope.until
    selection = _of_runs(replace(scope, since=None)).runs()
    condition = selection.condition
    if since is not None:
        condition += " and (r.ended_at is null or r.ended_at >= :since)"
        selection.parameters["since"] = since
    if "expired" in reader.columns("runs"):
        condition += " and r.expired is not 'trace'"
    decode = msgspec.json.Decoder(shape).decode

    def is_inside(_: str, started_at: int) -> bool:
        return (since is None or started_at >= since) and (until is None or started_at < until)

    for run_id, text, *facts in reader.execute(
        *_select(reader, selection._replace(condition=condition), columns)
    ):
        synopsis: Any = _read(decode, text) or _summed_up(reader, run_id, is_inside)
        if synopsis.first is None:
            continue
        if not (is_inside("", synopsis.first) and is_inside("", synopsis.last)):
            synopsis = _summed_up(reader, run_id, is_inside)
        yield tuple(facts), synopsis


def only_in(reader: Reader, scope: Scope) -> dict[str, Only] | None:
    """Which calls and tools of which runs, where a synopsis cannot tell; None if it can."""
    if not any(name in (TOOL, "status") or name.startswith(ATTRIBUTE) for name in scope.where):
        return None
    timeless = replace(scope, since=None, until=None)
    ids: dict[str, set[str]] = defaultdict(set)
    for row, selection in (("c", timeless.calls()), ("t", timeless.tools())):
        for run_id, call_id in reader.execute(*selection.select(f"{row}.run_id, {row}.id")):
            ids[run_id].add(call_id)
    return {run_id: _among(taken) for run_id, taken in ids.items()}


def _among(ids: set[str]) -> Only:
    return lambda call_id, _: call_id in ids


def _of_runs(scope: Scope) -> Scope:
    return replace(
        scope, where={name: values for name, values in scope.where.items() if name in (*OF_RUN, TAG)}
    )


def _select(reader: Reader, runs: Selection, columns: Sequence[str]) -> tuple[str, dict[str, Any]]:
    synopsis = "r.synopsis" if "synopsis" in reader.columns("runs") else "null"
    return runs.select(", ".join(["r.id", synopsis, *columns]))


def _read(decode: Callable[[str], S], text: str | None) -> S | None:
    """None also for what is no synopsis: the rows are there, and know."""
    if not text:
        return None
    try:
        return decode(text)
    except (msgspec.DecodeError, TypeError):
        return None


def _summed_up(reader: Reader, run_id: str, only: Only | None = None) -> Any:
    return of_run(reader.execute, run_id, only)
