"""The runs of a scope with their synopses: what sums and metrics are made of.

Most are read as the writer left them, many at a time. Summed up here, from their rows, are the runs that have none, and
those of which a question takes only some calls.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import compress, islice
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tokentrace_core.analysis.dimensions import ATTRIBUTE, OF_RUN, TAG, TOOL
from tokentrace_core.analysis.scope import Scope, Time
from tokentrace_core.errors import StoreError
from tokentrace_core.store.pages import Asked, Page, pages
from tokentrace_core.store.reader import Reader
from tokentrace_core.store.summary import of_run
from tokentrace_core.store.synopsis import Costs

S = TypeVar("S", bound=Costs)
Facts = tuple[Any, ...]
Only = Callable[[str, int], bool]
"""Whether a call is taken, by its id and its start."""

#: SQL over a run (r): a trace that has gone without a synopsis is not known any more. And whether it has not gone.
IS_KNOWN = "(r.expired is not 'trace' or r.synopsis is not null)"
IS_THERE = "r.expired is not 'trace'"
#: As many runs as are read at once from rows.
_SOME = 128


class Runs(NamedTuple, Generic[S]):
    """Some runs, and the synopsis of each."""

    facts: Sequence[Facts]
    synopses: list[S]


def runs_begun(
    reader: Reader,
    scope: Scope,
    columns: Sequence[str],
    shape: type[S],
    only: dict[str, Only] | None = None,
) -> Iterator[Runs[S]]:
    """Runs that began in the time, whole. `columns`: SQL over the run (r). `only`: run id -> what to take; no others."""
    runs = _of_runs(scope).runs()
    condition, known = runs.condition, reader.columns("runs")
    if "expired" in known and "synopsis" in known:
        condition += f" and {IS_KNOWN}"
    if only is None:
        asked = Asked(condition, runs.parameters, columns, scope.since, scope.until)
        for read, _ in _read(reader, asked, shape):
            yield read
        return
    selection = runs._replace(condition=condition).select(", ".join(["r.id", *columns]))
    taken = (row for row in reader.execute(*selection) if row[0] in only)
    while some := list(islice(taken, _SOME)):
        yield Runs([row[1:] for row in some], [_summed_up(reader, row[0], only[row[0]]) for row in some])


def runs_of_time(
    reader: Reader, time: Time, columns: Sequence[str], shape: type[S], condition: str
) -> Iterator[tuple[Runs[S], list[int]]]:
    """All runs that began in a time, whole; and which of them have no synopsis that could be read, and were summed up."""
    return _read(reader, Asked(condition, {}, columns, time.since, time.until), shape)


def runs_touched(
    reader: Reader, scope: Scope, columns: Sequence[str], shape: type[S], begun: Time | None = None
) -> Iterator[Runs[S]]:
    """Runs with what was spent in the time, whenever they began, or `begun` then. Not those whose traces have gone."""
    since, until = scope.since, scope.until
    begun = begun or Time(None, until)
    selection = _of_runs(replace(scope, since=None)).runs()
    condition, parameters = selection.condition, selection.parameters
    if since is not None:
        condition += " and (r.ended_at is null or r.ended_at >= :since or r.started_at >= :since)"
        parameters["since"] = since
    if "expired" in reader.columns("runs"):
        condition += f" and {IS_THERE}"

    def is_inside(_: str, started_at: int) -> bool:
        return (since is None or started_at >= since) and (until is None or started_at < until)

    if since is None and until is None:
        for runs, _ in _read(reader, Asked(condition, parameters, columns, *begun), shape):
            yield _those_with_costs(runs)
        return
    for runs, _ in _read(reader, Asked(condition, parameters, ["r.id", *columns], *begun), shape):
        for place, synopsis in enumerate(runs.synopses):
            if not (
                synopsis.first is None
                or (is_inside("", synopsis.first) and is_inside("", synopsis.last or 0))
            ):
                runs.synopses[place] = _summed_up(reader, runs.facts[place][0], is_inside)
        yield _those_with_costs(Runs([facts[1:] for facts in runs.facts], runs.synopses))


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


# ── many at a time ───────────────────────────────────────────────────────────────────────────────────────


def _read(reader: Reader, asked: Asked, shape: type[S]) -> Iterator[tuple[Runs[S], list[int]]]:
    """And the places of those that were summed up here."""
    of_line, of_run = msgspec.json.Decoder(list[shape]).decode, msgspec.json.Decoder(shape).decode  # type: ignore[valid-type]
    of_line_with_gaps = msgspec.json.Decoder(list[shape | None]).decode  # type: ignore[valid-type]
    with _uncollected():
        for page in pages(reader, asked):
            place, ids, facts = 0, _Ids(page.ids), _facts(page)
            whole = len(page.lines) == len(page.sizes)
            decode = of_line if page.has_all else of_line_with_gaps
            for line, size in zip(page.lines, page.sizes, strict=False):
                synopses = _decoded(decode, line) if whole else None
                is_whole = page.has_all
                if synopses is None or len(synopses) != size:
                    is_whole = False
                    synopses = [_read_alone(reader, of_run, ids[each]) for each in range(place, place + size)]
                missing = [] if is_whole else [each for each in range(size) if synopses[each] is None]
                for each in missing:
                    synopses[each] = _summed_up(reader, ids[place + each])
                yield Runs(facts[place : place + size], synopses), missing
                place += size


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: it would look at each of a million rows, and none leads back to itself."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _facts(page: Page) -> list[Facts]:
    try:
        columns = [msgspec.json.decode(column) for column in page.columns]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"the runs in the trace file cannot be read: {error}") from error
    return list(zip(*columns, strict=True)) if columns else [()] * sum(page.sizes)


class _Ids:
    """Those of a page, decoded when the first is needed: of most pages none is."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._ids: list[str] = []

    def __getitem__(self, place: int) -> str:
        if not self._ids:
            self._ids = msgspec.json.decode(self._text, type=list[str])
        return self._ids[place]


def _decoded(decode: Callable[[bytes], Any], text: bytes) -> Any:
    """None for what is no synopsis: the rows are there, and know."""
    try:
        return decode(text)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        return None


def _read_alone(reader: Reader, decode: Callable[[bytes], Any], run_id: str) -> Any:
    """None if it has none that can be read."""
    sql = "select cast(synopsis as blob) from main.runs where id = ?"
    text = next(reader.execute(sql, [run_id]), (None,))[0]
    return _decoded(decode, text) if text else None


def _those_with_costs(runs: Runs[S]) -> Runs[S]:
    if None not in map(attrgetter("first"), runs.synopses):
        return runs
    kept = [synopsis.first is not None for synopsis in runs.synopses]
    return Runs(list(compress(runs.facts, kept)), list(compress(runs.synopses, kept)))


def _summed_up(reader: Reader, run_id: str, only: Only | None = None) -> Any:
    return of_run(reader.execute, run_id, only)
