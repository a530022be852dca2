"""What is kept for how long, by class of data; what is older goes, also from what was stored before anybody asked.

- payloads: what was said (messages, arguments, results, reasoning, inputs, outputs, error texts). A marker with the
  size takes its place and the tree of prompts stays, so every total, loop and shared prefix reads as before. A
  message that a younger run has sent, too, stays as long as that one's.
- traces: steps, calls, scores and prompts. What they cost goes into `daily_costs` in the same transaction.
- summaries: the rows of runs and sessions. aggregates: `daily_costs`, which name nobody.

Nothing goes unless somebody asks: `Tracer(retention=Retention())` or `tokentrace retention --apply`.

Age is by the clock and by order: a run is old only if no run that was written before it, or with it, is young. So a
clock that was wrong deletes nothing: set back, it makes things younger; put right, it finds them after younger ones.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from tokentrace_core.store.pieces import Pieces, Progress
from tokentrace_core.store.rollups import roll_up
from tokentrace_core.store.sweep import Sweep, as_list, forsake, has_to_be_done

_RUNS = 20
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}
_DURATION = re.compile("([0-9]+)([hdwy])", re.ASCII)

#: The texts below a run, by table: what goes with the payloads.
_TEXTS = {
    "steps": ("reasoning", "error"),
    "llm_calls": ("error",),
    "tool_calls": ("arguments", "result", "error"),
    "scores": ("comment",),
    "run_parts": ("error",),
}
_TEXTS_OF_RUN = ("input", "output", "error")
_OF_RUN = ("scores", "repriced_calls", "tool_calls", "llm_calls", "steps", "run_parts")
_THESE = "in (select value from json_each(?))"


@dataclass(frozen=True)
class Retention:
    """How long each class of data is kept: "48h", "30d", "8w", "1y"; None for ever. Each as long as the one before, or longer."""

    payloads: str | None = "48h"
    traces: str | None = "30d"
    summaries: str | None = "90d"
    aggregates: str | None = "1y"

    def __post_init__(self) -> None:
        ages = [(part.name, self.age(part.name)) for part in fields(self)]
        for (shorter, age), (longer, kept) in pairwise(ages):
            if kept is not None and (age is None or age > kept):
                raise ValueError(f"{longer} cannot go before {shorter}: they are made of them")

    def age(self, name: str) -> timedelta | None:
        """How old this class may become."""
        kept = getattr(self, name)
        if kept is None:
            return None
        found = _DURATION.fullmatch(kept)
        if found is None:
            raise ValueError(
                f"{name}={kept!r} is no duration: write 48h, 30d, 8w or 1y, or None to keep for ever"
            )
        return int(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True)
class Due:
    """How much of each class is to go."""

    payloads: int
    """Runs whose texts go."""
    traces: int
    """Runs whose steps and calls go."""
    summaries: int
    """Runs that go entirely."""
    aggregates: int
    """Daily sums."""

    def __bool__(self) -> bool:
        return any((self.payloads, self.traces, self.summaries, self.aggregates))


class Keeping:
    """The rules at one moment, for one file."""

    def __init__(self, connection: sqlite3.Connection, rules: Retention, now: datetime | None = None) -> None:
        self._file = connection
        self._rules = rules
        self._now = now or datetime.now(UTC)

    def due(self) -> Due:
        """What would go now."""
        return Due(
            payloads=self._count("payloads", "expired is null"),
            traces=self._count("traces", "coalesce(expired, '') != 'trace'"),
            summaries=self._count("summaries"),
            aggregates=self._count_days(),
        )

    def pieces(self) -> Pieces:
        """Let it go. May be begun again at any point: what is done is not found again."""
        for name, condition, act in (
            ("traces", "coalesce(expired, '') != 'trace'", self._drop_traces),
            ("payloads", "expired is null", self._silence),
        ):
            of, done = self._count(name, condition), 0
            while runs := self._old(name, condition):
                act(runs)
                done += len(runs)
                yield Progress(name, done, of)
        if has_to_be_done(self._file):
            yield from Sweep(self._file).pieces()
        yield from self._drop_summaries()
        self._file.execute("delete from daily_costs where day < ?", [self._horizon_day()])
        yield Progress("aggregates", 1, 1)

    # ── which runs are old ───────────────────────────────────────────────────────────────────────────

    def _count(self, name: str, condition: str = "true") -> int:
        [count] = self._file.execute(*self._query("count(*)", name, condition)).fetchone()
        return int(count)

    def _old(self, name: str, condition: str = "true") -> list[str]:
        sql, where = self._query("id", name, condition)
        return [row[0] for row in self._file.execute(f"{sql} order by started_at limit {_RUNS}", where)]

    def _query(self, what: str, name: str, condition: str) -> tuple[str, dict[str, int]]:
        """Runs that have ended (those that wait for a human count from their start) and are old."""
        age = self._rules.age(name)
        horizon, now = 0 if age is None else _us(self._now - age), _us(self._now)
        young = "select min(rowid) from main.runs where started_at >= :horizon and started_at <= :now"
        return (
            f"select {what} from main.runs where status != 'running' and started_at < :horizon"
            f" and coalesce(ended_at, started_at) < :horizon and rowid < coalesce(({young}), rowid + 1)"
            f" and {condition}",
            {"horizon": horizon, "now": now},
        )

    def _horizon_day(self) -> str:
        age = self._rules.age("aggregates")
        return "" if age is None else (self._now - age).strftime("%Y-%m-%d")

    def _count_days(self) -> int:
        sql = "select count(*) from daily_costs where day < ?"
        return int(self._file.execute(sql, [self._horizon_day()]).fetchone()[0])

    # ── what becomes of them ─────────────────────────────────────────────────────────────────────────

    def _drop_traces(self, ids: list[str]) -> None:
        runs = as_list(ids)
        roll_up(self._file, runs)
        forsake(self._file, runs, "deleted")
        for table in _OF_RUN:
            self._file.execute(f"delete from {table} where run_id {_THESE}", [runs])
        self._blank(("runs",), runs, "trace")

    def _silence(self, ids: list[str]) -> None:
        forsake(self._file, as_list(ids), "silenced")
        self._blank((*_TEXTS, "runs"), as_list(ids), "payloads")

    def _blank(self, tables: tuple[str, ...], runs: str, what: str) -> None:
        for table in tables:
            key, names = ("id", _TEXTS_OF_RUN) if table == "runs" else ("run_id", _TEXTS[table])
            texts = ", ".join(_marker(name) for name in names)
            self._file.execute(f"update {table} set {texts} where {key} {_THESE}", [runs])
        self._file.execute(f"update runs set expired = ? where id {_THESE}", [what, runs])

    def _drop_summaries(self) -> Iterator[Progress]:
        gone = "expired = 'trace'"
        of, done = self._count("summaries", gone), 0
        while ids := self._old("summaries", gone):
            runs = as_list(ids)
            sessions = as_list(
                [
                    row[0]
                    for row in self._file.execute(f"select session_id from runs where id {_THESE}", [runs])
                ]
            )
            self._file.execute(f"delete from runs where id {_THESE}", [runs])
            self._file.execute(
                f"delete from sessions where id {_THESE}"
                " and not exists (select 1 from runs r where r.session_id = sessions.id)",
                [sessions],
            )
            done += len(ids)
            yield Progress("summaries", done, of)


def _marker(name: str) -> str:
    """SQL: what stands for a text that has gone. Arguments stay JSON."""
    size = f"length(cast({name} as blob))"
    marker = f"'[expired: ' || {size} || ' bytes]'"
    return (
        f"{name} = case when {name} is null or ({name} like '%[expired: % bytes]%' and length({name}) < 50) then {name}"
        f" else {f'json_quote({marker})' if name == 'arguments' else marker} end"
    )


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
