"""Making a run's synopsis from its rows: when the run ends, and again whenever rows of it are written after that.

A run that has none (it is not over, its process has died and nobody has written that down yet, it is of an older version) is
summed up when it is read, by the same `of_run`. Nobody has to keep figures up to date by hand: what changes rows of runs in
any other way calls `renew` in the same transaction, or sets the synopsis to null.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from tokentrace_core.store.synopsis import (
    OWN_COST,
    CallSums,
    FullSynopsis,
    Model,
    Part,
    StepSums,
    ToolShare,
    ToolSums,
)

_HOUR_US = 3_600_000_000
_FAILED = frozenset({"failure", "timeout"})

Row = tuple[Any, ...]

_CALLS = """
    select id, step_id, provider, coalesce(model, model_answered), model_answered, status, started_at, cost_nano_usd,
           cost_status, usage_source, coalesce(input_uncached_tokens, 0) + coalesce(cache_read_tokens, 0)
           + coalesce(cache_write_5m_tokens, 0) + coalesce(cache_write_1h_tokens, 0),
           coalesce(cache_read_tokens, 0), coalesce(output_tokens, 0), kind
    from llm_calls where run_id = ? and status != 'refused' order by started_at, id
"""
_TOOLS = """
    select id, step_id, name, status, started_at, ended_at, arguments_hash, cost_nano_usd
    from tool_calls where run_id = ? order by started_at, id
"""
_STANDS = """
    select status = 'running' or exists (select 1 from run_parts where run_id = ? and status = 'running'),
           synopsis is null from main.runs where id = ?
"""
_STEPS = "select id, number, agent, name from steps where run_id = ? order by number, id"


def renew(connection: sqlite3.Connection, run_ids: Iterable[str]) -> None:
    """Bring the synopses of these runs up to date with their rows; a run that is not over has none."""
    for run_id in run_ids:
        found = connection.execute(_STANDS, [run_id, run_id]).fetchone()
        if found is None:
            continue
        is_open, has_none = found
        if not (is_open and has_none):
            text = None if is_open else encoded(of_run(connection.execute, run_id))
            connection.execute("update main.runs set synopsis = ? where id = ?", [text, run_id])


def encoded(synopsis: FullSynopsis) -> str:
    return msgspec.json.encode(synopsis).decode()


def of_run(
    execute: Callable[[str, list[str]], Iterable[Row]],
    run_id: str,
    only: Callable[[str, int], bool] | None = None,
) -> FullSynopsis:
    """From the rows of a run. `only`: whether a model's or a tool's call is in it, by its id and start."""
    calls, tools = list(execute(_CALLS, [run_id])), list(execute(_TOOLS, [run_id]))
    summary = _Summary(list(execute(_STEPS, [run_id])), tools)
    if only is not None:
        calls = [row for row in calls if only(row[0], row[6])]
        tools = [row for row in tools if only(row[0], row[4])]
    return summary.of(calls, tools)


class _Sums(msgspec.Struct):
    """Figures of `CallSums` and `ToolShare`, in their order, in the making."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0
    estimated_nano: int = 0
    unpriced_calls: int = 0
    unpriced_tokens: int = 0
    estimated_calls: int = 0


class _Figures(NamedTuple):
    """Of one call, or of a share of it."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int
    nano: int
    is_unpriced: bool
    is_estimated: bool


class _Summary:
    """A synopsis in the making."""

    def __init__(self, steps: list[Row], tools: list[Row]) -> None:
        """All steps and tools of the run: who shares a call is not a matter of what is summed up."""
        self._parts: dict[Part, int] = {}
        self._models: dict[Model, int] = {}
        parts = [self._part(row[2], row[3]) for row in steps]
        self._steps = StepSums(parts, [-1] * len(steps), [0] * len(steps), [0] * len(steps))
        self._place = {row[0]: place for place, row in enumerate(steps)}
        self._sums: dict[tuple[int, int, int, str], _Sums] = defaultdict(_Sums)
        self._shares: dict[tuple[int, int, int, str, str], _Sums] = defaultdict(_Sums)
        self._tools_of: dict[str | None, list[Row]] = {}
        for row in sorted(tools, key=itemgetter(0)):
            self._tools_of.setdefault(row[1], []).append(row)

    def of(self, calls: list[Row], tools: list[Row]) -> FullSynopsis:
        self._calls, self._tools = calls, tools
        final = None
        for row in self._calls:
            model = self._model(row[2], row[3], None if row[4] == row[3] else row[4])
            self._add_call(row, model)
            if row[10]:
                final = model, row[10]
        for row in self._tools:
            if row[7] is not None:
                self._add_own_cost(row)
        began = [row[6] for row in self._calls] + [row[4] for row in self._tools if row[7] is not None]
        self._steps.corrects = self._corrections()
        return FullSynopsis(
            tools=self._tool_sums(),
            parts=tuple(self._parts),
            models=tuple(self._models),
            first=min(began, default=None),
            last=max(began, default=None),
            calls=[CallSums(*key, *astuple(sums)) for key, sums in self._sums.items()],
            steps=self._steps,
            final=final,
            falls_back=self._falls_back(),
            shares=[
                ToolShare._make((*key[:4], *astuple(sums), key[4])) for key, sums in self._shares.items()
            ],
        )

    # ── what it cost ─────────────────────────────────────────────────────────────────────────────────

    def _add_call(self, row: Row, model: int) -> None:
        step_id, place = row[1], self._place.get(row[1])
        figures = _Figures(
            row[10], row[11], row[12], row[7] or 0, row[8] == "unpriced", row[9] == "estimated"
        )
        if place is None:
            part = self._part(None, None)
        else:
            part = self._steps.part[place]
            self._steps.model[place] = model
            self._steps.nano[place] += figures.nano
            self._steps.input_tokens[place] += figures.input_tokens
        key = part, model, row[6] // _HOUR_US, row[5]
        _add(self._sums[key], figures, 1)
        tools = self._tools_of.get(step_id) if step_id is not None else None
        if tools is None:
            _add(self._shares[*key, ""], figures, 1)
        elif len(tools) == 1:
            _add(self._shares[*key, tools[0][2]], figures, 1)
        else:
            self._share_out(key, figures, [tool[2] for tool in tools])

    def _share_out(self, key: tuple[int, int, int, str], figures: _Figures, names: list[str]) -> None:
        """An equal part for each tool of the step; the remainder goes to the first ones, so nothing is lost."""
        many = len(names)
        for place, name in enumerate(names):
            sent, cached, got, nano = (figure // many + (place < figure % many) for figure in figures[:4])
            share = _Figures(sent, cached, got, nano, figures.is_unpriced, figures.is_estimated)
            _add(self._shares[*key, name], share, name not in names[:place])

    def _add_own_cost(self, row: Row) -> None:
        _, step_id, name, status, started_at, _, _, nano = row
        model = self._model(OWN_COST, OWN_COST, None)
        key = self._part_of(step_id), model, started_at // _HOUR_US, status
        self._sums[key].nano += nano
        self._shares[*key, name].nano += nano
        if (place := self._place.get(step_id)) is not None:
            self._steps.nano[place] += nano

    def _part(self, agent: str | None, step_name: str | None) -> int:
        return self._parts.setdefault((agent, step_name), len(self._parts))

    def _part_of(self, step_id: str | None) -> int:
        place = self._place.get(step_id)
        return self._part(None, None) if place is None else self._steps.part[place]

    def _model(self, provider: str | None, model: str | None, answered: str | None) -> int:
        return self._models.setdefault((provider, model, answered), len(self._models))

    # ── how it went ──────────────────────────────────────────────────────────────────────────────────

    def _tool_sums(self) -> list[ToolSums]:
        found: dict[tuple[int, int, str], ToolSums] = {}
        tried: dict[tuple[str, str | None], tuple[int, ToolSums]] = {}
        failed: set[tuple[str, str | None]] = set()
        for _, step_id, name, status, started_at, ended_at, arguments, _ in self._tools:
            place = self._place.get(step_id)
            key = self._part_of(step_id), -1 if place is None else self._steps.model[place], name
            sums = found.setdefault(key, ToolSums(*key))
            sums.calls += 1
            sums.failures += status in _FAILED
            if ended_at is not None:
                sums.durations.append(ended_at - started_at)
            same = name, arguments
            sums.retries += same in failed
            (failed.add if status in _FAILED else failed.discard)(same)
            times, first = tried.get(same, (0, sums))
            tried[same] = times + 1, first
            first.most = max(first.most, times + 1)
        self._lead(found)
        return list(found.values())

    def _lead(self, found: dict[tuple[int, int, str], ToolSums]) -> None:
        """Charge each step to the tools of the step before it, of the same agent."""
        parts, steps = list(self._parts), self._steps
        before: dict[str | None, str] = {}
        for place, step_id in enumerate(self._place):
            agent = parts[steps.part[place]][0]
            led_by = self._tools_of.get(before.get(agent), [])
            for share, tool in enumerate(led_by):
                came = self._place[tool[1]]
                sums = found.get((steps.part[came], steps.model[came], tool[2]))
                if sums is None:  # not among those that are summed up
                    continue
                sums.led_steps += tool[2] not in {other[2] for other in led_by[:share]}
                sums.led_nano += steps.nano[place] // len(led_by) + (share < steps.nano[place] % len(led_by))
            before[agent] = step_id

    def _corrections(self) -> list[int]:
        """Steps in which a tool that failed in an earlier one of the same agent is tried with other arguments."""
        parts, found = list(self._parts), set()
        latest: dict[tuple[str | None, str], tuple[int, bool, str | None]] = {}
        for _, step_id, name, status, _, _, arguments, _ in self._tools:
            place = self._place.get(step_id)
            if place is None:
                continue
            loop = parts[self._steps.part[place]][0], name
            before, had_failed, tried = latest.get(loop, (place, False, None))
            if had_failed and before < place and tried != arguments:
                found.add(place)
            latest[loop] = place, status in _FAILED, arguments
        return sorted(found)

    def _falls_back(self) -> int:
        parts = list(self._parts)
        failed: dict[str | None, str | None] = {}
        for row in self._calls:
            agent = parts[self._part_of(row[1])][0]
            if row[13] == "embedding":
                continue
            if agent in failed and failed[agent] != row[3]:
                return 1
            if row[5] in _FAILED:
                failed[agent] = row[3]
            else:
                failed.pop(agent, None)
        return 0


def _add(sums: _Sums, figures: _Figures, calls: int) -> None:
    """`calls`: 1 if the call is not in these sums yet."""
    input_tokens, cached_tokens, output_tokens, nano, is_unpriced, is_estimated = figures
    sums.calls += calls
    sums.input_tokens += input_tokens
    sums.cached_tokens += cached_tokens
    sums.output_tokens += output_tokens
    sums.nano += nano
    if is_unpriced:
        sums.unpriced_calls += calls
        sums.unpriced_tokens += input_tokens + output_tokens
    if is_estimated:
        sums.estimated_calls += calls
        sums.estimated_nano += nano
