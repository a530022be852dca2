"""Why one period cost more than another: from the file to the explanation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tokentrace_core.analysis.expired import expired
from tokentrace_core.analysis.why import causes, evidence, words
from tokentrace_core.analysis.why.cells import cells_of, kept_kinds
from tokentrace_core.analysis.why.charges import Charges
from tokentrace_core.analysis.why.effects import EFFECTS, OF_CELL
from tokentrace_core.analysis.why.explanation import Cause, Change, Effect, Explanation, Summary
from tokentrace_core.analysis.why.facts import Period, read_kinds, read_work, with_kinds, with_users
from tokentrace_core.analysis.why.heavy import heavy_user, own_change
from tokentrace_core.analysis.why.telling import Comparison, Telling, tell
from tokentrace_core.money import show_usd
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader

#: A dimension's other values are put together.
_MOST_CHANGES = 12


def explain(reader: Reader, before: Period, after: Period, *, book: PriceBook | None = None) -> Explanation:
    """The difference between two periods, of which the names and scopes are known."""
    periods = (with_users(reader, before), with_users(reader, after))
    heavy = heavy_user(periods[0].users, periods[1].users)
    counted = [read_kinds(reader, period, heavy) for period in periods]
    kept = kept_kinds(counted[0], counted[1])
    named = [with_kinds(period, kinds, kept, heavy) for period, kinds in zip(periods, counted, strict=True)]
    periods = read_work(reader, (named[0], named[1]), kept, heavy)
    one, other = _summary(periods[0]), _summary(periods[1])
    if not (one.runs and other.runs):
        return Explanation(words.headline(one, other, ()), one, other, notes=tuple(_gone(reader, named)))
    charges = [Charges(reader, period, book or PriceBook.default()) for period in periods]
    compared = Comparison(reader, periods, cells_of(periods, (charges[0].rates, charges[1].rates)))
    found = tuple(_causes(compared, heavy))
    return Explanation(
        words.headline(one, other, found),
        one,
        other,
        effects=tuple(_effects(compared)),
        causes=found,
        changes=_changes(compared),
        notes=(*_notes(one, other), *_gone(reader, named)),
    )


def _summary(period: Period) -> Summary:
    unpriced = [work for work in period.work if not work.priced]
    return Summary(
        name=period.name,
        since=period.scope.since,
        until=period.scope.until,
        runs=period.runs,
        calls=sum(work.calls for work in period.work),
        cost=period.cost,
        estimated=sum(work.estimated for work in period.work),
        tool_cost=period.tool_cost,
        unpriced_calls=sum(work.calls for work in unpriced),
        unpriced_tokens=sum(sum(work.tokens) for work in unpriced),
    )


def _effects(compared: Comparison) -> Iterator[Effect]:
    before, after = (evidence.figures_of(period) for period in compared.periods)
    for name, label in EFFECTS.items():
        difference = sum(cell.effects.get(name, 0) for cell in compared.cells)
        if name == "tools":
            difference = compared.periods[1].tool_cost - compared.periods[0].tool_cost
        yield Effect(name, label, difference, before[name], after[name])


# ── causes ───────────────────────────────────────────────────────────────────────────────────────────────


def _causes(compared: Comparison, heavy: str | None) -> list[Cause]:
    before, after = compared.periods
    own = own_change(heavy, before.users, after.users) if heavy else 0
    parts = causes.parts_of(compared.cells, own) | {"tools": after.tool_cost - before.tool_cost}
    own = after.cost - before.cost - sum(parts.values())
    least = causes.worth_saying([*parts.values(), own], max(before.cost, after.cost))
    found = [_cause(compared, effect, part) for effect, part in parts.items() if abs(part) >= least]
    if heavy is not None and abs(own) >= least:
        found.append(_of_user(compared, heavy, own))
    return sorted(found, key=lambda cause: -abs(cause.difference))


def _cause(compared: Comparison, effect: str, part: int) -> Cause:
    place = causes.where(compared.cells, effect, part) if effect in OF_CELL else {}
    return _said(compared, effect, part, place, tell(effect, compared, place, raised=part > 0))


def _of_user(compared: Comparison, user: str, own: int) -> Cause:
    theirs = [cell for cell in compared.cells if cell.place.heavy]
    most = max(OF_CELL, key=lambda name: abs(sum(cell.effects[name] for cell in theirs)))
    before, after = (period.users.get(user, (0, 0)) for period in compared.periods)
    told = (
        f"{words.moved('runs', before[0], after[0])}, {show_usd(before[1])} → {show_usd(after[1])}",
        f"most of it: {EFFECTS[most]}",
    )
    place = causes.where(theirs, None, own)
    return _said(compared, "user", own, place, Telling("one_user", {"user": user}, told))


def _said(compared: Comparison, effect: str, part: int, place: dict[str, str], told: Telling) -> Cause:
    verdict, raised = causes.VERDICTS[told.verdict], part > 0
    place = place | told.place
    return Cause(
        name=told.verdict,
        difference=part,
        symptom=verdict.symptom if raised else verdict.lowered,
        cause=verdict.cause if raised else "",
        fix=verdict.fix if raised else "",
        place=place,
        evidence=told.evidence,
        run_ids=evidence.runs_that_show(compared.reader, compared.periods[1].scope, effect, place),
    )


# ── by dimension ─────────────────────────────────────────────────────────────────────────────────────────


def _changes(compared: Comparison) -> dict[str, tuple[Change, ...]]:
    """What was spent on each run, agent, step, model, tool and user. What tools cost of their own is under (tools)."""
    before, after = compared.periods
    of_cells = {
        name: [
            [(getattr(cell.place, field), getattr(cell, side).cost) for cell in compared.cells]
            for side in ("before", "after")
        ]
        for name, field in (("run", "kind"), ("agent", "agent"), ("step", "step"))
    }
    of_models = [[(work.model, work.cost) for work in period.work] for period in (before, after)]
    tools = [[("(tools)", period.tool_cost)] for period in (before, after)]
    of_tools = [
        [*((tool.name, tool.cost) for tool in period.tools), ("(models)", period.cost - period.tool_cost)]
        for period in (before, after)
    ]
    of_users = [_of_users(period) for period in (before, after)]
    sides = {
        name: [one + two for one, two in zip(pair, tools, strict=True)] for name, pair in of_cells.items()
    }
    sides["model"] = [one + two for one, two in zip(of_models, tools, strict=True)]
    sides |= {"tool": of_tools, "user": of_users}
    return {name: _ranked(*map(_sums, pair)) for name, pair in sides.items()}


def _of_users(period: Period) -> list[tuple[str | None, int]]:
    """By the runs' own totals; what calls say beyond them is nobody's."""
    spent: list[tuple[str | None, int]] = [(user or None, cost) for user, (_, cost) in period.users.items()]
    return [*spent, (None, period.cost - sum(cost for _, cost in spent))]


def _sums(costs: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for name, cost in costs:
        sums["(none)" if name is None else name] += cost
    return sums


def _ranked(before: dict[str, int], after: dict[str, int]) -> tuple[Change, ...]:
    """The greatest changes first; those beyond a number as one."""
    names = dict.fromkeys([*before, *after])
    every = [Change(name, before.get(name, 0), after.get(name, 0)) for name in names]
    ranked = sorted(
        (each for each in every if each.before or each.after),
        key=lambda each: (-abs(each.difference), each.name),
    )
    rest = ranked[_MOST_CHANGES:]
    if not rest:
        return tuple(ranked)
    others = Change(
        f"({len(rest):,} others)", sum(each.before for each in rest), sum(each.after for each in rest)
    )
    return (*ranked[:_MOST_CHANGES], others)


def _gone(reader: Reader, periods: Sequence[Period]) -> Iterator[str]:
    """What retention has taken is in nobody's comparison."""
    for period in periods:
        for sums in expired(reader, (), period.scope):
            yield (
                f"{period.name}: {words.count(sums.runs, 'run')} for {show_usd(sums.cost_nano_usd)} "
                f"{'is' if sums.runs == 1 else 'are'} gone by retention, and not compared."
            )


def _notes(before: Summary, after: Summary) -> Iterator[str]:
    if not words.same_length(before, after):
        yield f"The periods are not of the same length: {before.days:.1f} and {after.days:.1f} days. Figures are not scaled."
    for side in (before, after):
        if side.unpriced_calls:
            yield (
                f"{side.name}: {words.count(side.unpriced_calls, 'call')} without a price "
                f"({words.count(side.unpriced_tokens, 'token')}), not in the cost. `tokentrace prices` lists the models."
            )
        if side.estimated:
            part = words.percent(side.estimated / side.cost) if side.cost else "all"
            yield f"{side.name}: ≈ {show_usd(side.estimated)} ({part}) of the cost rests on estimated usage."
