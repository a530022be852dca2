"""What in the record shows a cause: the tool that errs, the messages that grew, the model that took over, the runs to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.why.cells import Cell
from tokentrace_core.analysis.why.effects import COUNTERS, Rates
from tokentrace_core.analysis.why.explanation import Change
from tokentrace_core.analysis.why.facts import KIND, OTHERS, Both, Period, Tool, Work, calls_of, runs_of
from tokentrace_core.store.reader import Reader

_INPUT = range(len(COUNTERS) - 1)
_READ = COUNTERS.index("cache_read_tokens")
_OUTPUT = COUNTERS.index("output_tokens")
#: So many prompts of each period are looked into.
_PROMPTS = 40
#: So many runs are named.
_RUNS = 3
#: What grew by less is not named.
GREW = Fraction(13, 10)


class Grown(NamedTuple):
    """A figure that stands out, of a tool or a role."""

    name: str
    before: Fraction
    after: Fraction


def figures_of(period: Period) -> dict[str, float | None]:
    """What each effect is about, over the whole period."""
    priced = [work for work in period.work if work.priced]
    calls = sum(work.calls for work in period.work)
    priced_calls = sum(work.calls for work in priced)
    prompt = sum(work.tokens[place] for work in priced for place in _INPUT)
    return {
        "runs": period.runs,
        "kinds": None,
        "calls": _ratio(calls, period.runs),
        "priced": _ratio(priced_calls, calls),
        "input": _ratio(prompt, priced_calls),
        "cache": _ratio(sum(work.tokens[_READ] for work in priced), prompt),
        "output": _ratio(sum(work.tokens[_OUTPUT] for work in priced), priced_calls),
        "models": None,
        "prices": None,
        "tools": None,
    }


def runs_by_kind(period: Period) -> dict[str, int]:
    """How many runs there were of each name and task type."""
    runs: dict[str, int] = defaultdict(int)
    for (kind, _), count in period.kinds.items():
        runs[kind] += count
    return runs


def erring_tool(periods: Both) -> tuple[Tool, Grown] | None:
    """The tool whose failures per run rose most, if they explain a quarter of the additional model calls."""
    before, after = (_by_tool(period) for period in periods)
    rise = {
        name: Grown(
            name, _per_run(before.get(name), periods[0], "failures"), _per_run(tool, periods[1], "failures")
        )
        for name, tool in after.items()
    }
    found = max(rise.values(), key=lambda each: each.after - each.before, default=None)
    if found is None or found.after <= found.before:
        return None
    more_calls = _calls_per_run(periods[1]) - _calls_per_run(periods[0])
    return (after[found.name], found) if 4 * (found.after - found.before) >= more_calls > 0 else None


def larger_result(periods: Both) -> tuple[Tool, Grown] | None:
    """The tool whose results add most bytes to a run because each of them is larger."""
    before, after = (_by_tool(period) for period in periods)
    grown = {
        name: Grown(
            name,
            Fraction(before[name].result_bytes, before[name].calls),
            Fraction(tool.result_bytes, tool.calls),
        )
        for name, tool in after.items()
        if name in before
    }
    found = max(
        grown.values(), key=lambda each: (each.after - each.before) * after[each.name].calls, default=None
    )
    return (after[found.name], found) if found is not None and found.after > found.before * GREW else None


def model_shift(periods: Both) -> tuple[str, str | None, Grown] | None:
    """The model whose part of the tokens rose most, and the one whose part fell most."""
    parts = [_parts(period.work) for period in periods]
    models = {*parts[0], *parts[1]}
    rise = {model: parts[1].get(model, Fraction()) - parts[0].get(model, Fraction()) for model in models}
    if not rise:
        return None
    come, gone = (pick(rise, key=lambda model: (rise[model], model)) for pick in (max, min))
    grown = Grown(come, parts[0].get(come, Fraction()), parts[1].get(come, Fraction()))
    return come, gone if rise[gone] < 0 else None, grown


def price_shift(cells: Iterable[Cell]) -> tuple[str, Rates, Rates] | None:
    """The model whose price changed where that made most of the difference, and its rates before and after."""
    cell = max(cells, key=lambda each: abs(each.effects["prices"]), default=None)
    if cell is None:
        return None
    both = [
        (model, cell.before.models[model].rates, used.rates)
        for model, used in cell.after.models.items()
        if model in cell.before.models and cell.before.models[model].rates != used.rates
    ]
    return max(both, key=lambda each: cell.after.models[each[0]].calls, default=None)


def dearer_tool(periods: Both) -> Change:
    """The tool whose own cost changed most."""
    before, after = (_by_tool(period) for period in periods)
    changes = [
        Change(name, *(side[name].cost if name in side else 0 for side in (before, after)))
        for name in {*before, *after}
    ]
    return max(changes, key=lambda each: (abs(each.difference), each.name))


def reasoning_per_call(period: Period) -> Fraction:
    """Tokens of reasoning in a call's reply."""
    calls = sum(work.calls for work in period.work)
    return Fraction(sum(work.reasoning for work in period.work), max(calls, 1))


def output_caps(reader: Reader, scope: Scope, place: dict[str, str]) -> list[str]:
    """The values of `max_tokens` with which a place calls its models."""
    calls = calls_of(scope)
    condition, parameters = _at(place)
    sql = f"""
        select distinct json_extract(params, '$.max_tokens') as cap from (
            select c.params {calls.sql} and {condition} and c.params like '%max_tokens%' limit {_PROMPTS}
        ) where json_valid(params) order by cap
    """
    return [
        str(row["cap"]) for row in reader.query(sql, calls.parameters | parameters) if row["cap"] is not None
    ]


def prompt_parts(reader: Reader, scope: Scope, place: dict[str, str]) -> dict[str, Fraction]:
    """What a prompt of this place is made of: role -> mean bytes. Empty if the texts are not kept."""
    calls = calls_of(scope)
    condition, parameters = _at(place)
    sql = f"""
        with recursive picked as (
            select c.prompt_id as leaf {calls.sql} and c.prompt_id is not null and {condition} limit {_PROMPTS}
        ), path(parent_id, message_id, times) as (
            select p.parent_id, p.message_id, 1 from picked join prompts p on p.id = picked.leaf
            union all
            select p.parent_id, p.message_id, 1 from path join prompts p on p.id = path.parent_id
        )
        select m.role, sum(m.bytes) as bytes, (select count(*) from picked) as prompts
        from path join messages m on m.id = path.message_id group by m.role
    """
    rows = reader.query(sql, calls.parameters | parameters)
    return {row["role"] or "other": Fraction(row["bytes"], row["prompts"]) for row in rows}


def runs_that_show(reader: Reader, scope: Scope, effect: str, place: dict[str, str]) -> tuple[str, ...]:
    """Ids of runs of this time in which the effect is greatest."""
    runs = runs_of(reader, scope)
    conditions, parameters = [], {}
    for name, column in (("run", KIND), ("user", "r.user_id")):
        if place.get(name, OTHERS) != OTHERS:
            conditions.append(f"{column} = :at_{name}")
            parameters[f"at_{name}"] = place[name]
    if "model" in place:
        conditions.append(
            "exists (select 1 from main.llm_calls c where c.run_id = r.id and coalesce(c.model, c.model_answered) = :at_model)"
        )
        parameters["at_model"] = place["model"]
    more = "".join(f" and {condition}" for condition in conditions)
    sql, own = runs.select(
        "r.id", f"{more} order by {_SHOWS.get(effect, 'r.cost_nano_usd')} desc, r.id limit {_RUNS}"
    )
    return tuple(row["id"] for row in reader.query(sql, own | parameters))


_SHOWS = {
    "calls": "r.llm_calls",
    "input": "r.input_tokens * 1.0 / max(r.llm_calls, 1)",
    "cache": "(r.input_tokens - r.cached_tokens) * 1.0 / max(r.llm_calls, 1)",
    "output": "r.output_tokens * 1.0 / max(r.llm_calls, 1)",
}


def _at(place: dict[str, str]) -> tuple[str, dict[str, str]]:
    columns = {"run": KIND, "agent": "s.agent", "step": "s.name"}
    named = {name: column for name, column in columns.items() if place.get(name, OTHERS) != OTHERS}
    condition = " and ".join(f"{column} = :at_{name}" for name, column in named.items())
    return condition or "true", {f"at_{name}": place[name] for name in named}


def _by_tool(period: Period) -> dict[str, Tool]:
    """Tools, all agents together."""
    tools: dict[str, Tool] = {}
    for tool in period.tools:
        known = tools.get(tool.name)
        if known is not None:
            sums = {name: getattr(known, name) + getattr(tool, name) for name in _SUMMED}
            tool = known._replace(agent=None, **sums)
        tools[tool.name] = tool
    return tools


_SUMMED = ("calls", "failures", "result_bytes", "cost")


def _per_run(tool: Tool | None, period: Period, figure: str) -> Fraction:
    return Fraction(getattr(tool, figure) if tool else 0, max(period.runs, 1))


def _calls_per_run(period: Period) -> Fraction:
    return Fraction(sum(work.calls for work in period.work), max(period.runs, 1))


def _by_model(works: Iterable[Work]) -> dict[str, tuple[int, int]]:
    """Model -> tokens and nano-dollars."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for work in works:
        tokens, cost = sums[work.model]
        sums[work.model] = tokens + sum(work.tokens), cost + work.cost
    return sums


def _parts(works: Iterable[Work]) -> dict[str, Fraction]:
    sums = _by_model(works)
    whole = sum(tokens for tokens, _ in sums.values())
    return {model: Fraction(tokens, whole) for model, (tokens, _) in sums.items()} if whole else {}


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
