"""Writing the month into a trace file, through the tracer that every user has."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tokentrace_core.cli.demo.month.stage import Stage, Visit
from tokentrace_core.cli.demo.month.timeline import StoryTime
from tokentrace_core.cli.demo.month.traffic import BY_NAME, visits
from tokentrace_core.cli.demo.month.waste import AUDIT, KINDS, Planted, account
from tokentrace_core.errors import TokentraceError
from tokentrace_core.pricing import PriceBook
from tokentrace_core.tracer import Tracer

#: Runs between two moments at which the writer is waited for: what is not written yet is held in memory.
_FLUSH_EVERY = 50
_FLUSH_S = 60.0

#: The day of the month, from 0, on which the cache breaks.
_BREAKS_ON = 14

#: Told how many runs of all are done.
Progress = Callable[[int, int], None]


def write_month(
    path: str | os.PathLike[str],
    *,
    seed: int = 1,
    plant: Collection[str] = AUDIT,
    days: int = 30,
    scale: float = 1.0,
    start: datetime | None = None,
    progress: Progress | None = None,
) -> Planted:
    """Record a month of several agents into a file; what is planted in it, to the token and the nano-dollar.

    `plant`: which of `KINDS`; none for the clean twin: the same runs at the same times, as well kept agents would do
    them. `scale`: factor on the number of runs. `start`: the first midnight; by default so that the last day is
    yesterday. The same arguments write the same file, ids included. Raises ValueError for an unknown kind.
    """
    unknown = sorted(set(plant) - set(KINDS))
    if unknown:
        raise ValueError(f"nobody can plant {unknown[0]!r}; there are {', '.join(KINDS)}")
    begin = start or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(
        days=days
    )
    kinds = frozenset(plant)
    told = [_planted(visit, kinds) for visit in visits(seed, begin, days, scale)]
    prices = PriceBook()
    mended = Stage(StoryTime(seed), prices)
    play(mended, [visit._replace(plant=frozenset()) for visit in told], None)
    stage = record(Path(path), told, seed, prices, progress)
    return account(stage.bills, mended.bills, kinds)


def record(path: Path, told: list[Visit], seed: int, prices: PriceBook, progress: Progress | None) -> Stage:
    """Make these runs, recorded into the file. Raises `TokentraceError` if it cannot be written."""
    time = StoryTime(seed)
    with Tracer(path, prices=prices, project="acme", environment="production", timeline=time) as tracer:
        stage = Stage(time, prices, tracer)
        play(stage, told, progress)
        if not tracer.flush(_FLUSH_S) or tracer.losses:
            raise TokentraceError(f"{path} could not be written: {tracer.losses or 'it is locked'}")
    return stage


def play(stage: Stage, told: Iterable[Visit], progress: Progress | None) -> None:
    """Make the runs one after the other; each sets the story's time to its own."""
    todo = list(told)
    for done, visit in enumerate(todo, start=1):
        BY_NAME[visit.agent].work(stage, visit)
        if stage.tracer is not None and done % _FLUSH_EVERY == 0:
            stage.tracer.flush(_FLUSH_S)
        if progress is not None:
            progress(done, len(todo))


def _planted(visit: Visit, kinds: frozenset[str]) -> Visit:
    """What of it is planted in this run. No two kinds meet in one call: their sums would not be theirs alone."""
    mine = kinds & set(BY_NAME[visit.agent].plants)
    if not visit.polite:
        mine -= {"preamble"}
    if visit.day < _BREAKS_ON:
        mine -= {"broken_cache"}
    return visit._replace(plant=mine - {"refetch"} if "broken_cache" in mine else mine)
