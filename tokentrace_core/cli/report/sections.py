"""What is in a report: the bill by day and by what made it, why it changed, what was wasted, what would save most.

Each section is one analysis, its picture, and the same figures as a table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tokentrace_core.analysis.audit import Audit
from tokentrace_core.analysis.spent import Spending, Spent
from tokentrace_core.analysis.what_if import WhatIf
from tokentrace_core.analysis.why import Explanation
from tokentrace_core.analysis.why.words import place_words, signed
from tokentrace_core.cli import figures
from tokentrace_core.cli.report import charts
from tokentrace_core.cli.report.page import Section, Table
from tokentrace_core.cli.text import shorten
from tokentrace_core.pricing import show_usd

_SERIES = 5
_BARS = 10
_NAME = 48
#: So many figures are read out in a picture's description; all of them are in its table.
_READ_OUT = 6
_FINDINGS = 10


def by_day(spending: Spending) -> Section:
    """Spent by day and model. `spending`: by day, model."""
    days: dict[str, list[Spent]] = defaultdict(list)
    models: dict[str, int] = defaultdict(int)
    for row in spending.rows:
        days[str(row.key[0])].append(row)
        models[str(row.key[1])] += row.cost_nano_usd
    shown = sorted(models, key=lambda model: (-models[model], model))[:_SERIES]
    sums = {day: sum(row.cost_nano_usd for row in days[day]) for day in sorted(days)}
    total = spending.total
    spent = figures.spent(total.cost_nano_usd, unpriced=total.unpriced_calls, estimated=total.estimated_calls)
    return Section(
        "What was spent",
        f"{spent} in {figures.count(total.runs, 'run')} and {figures.count(total.calls, 'model call')}, "
        f"on {figures.count(len(days), 'day')}.",
        Table(("day (UTC)", "calls", "cost"), [_day_row(day, days[day]) for day in sums]),
        charts.columns([column for day in sums for column in _columns(day, days[day], shown)]),
        _described("Columns of cost by day", [(day, show_usd(nano)) for day, nano in sums.items()]),
        list(_notes_of(total)),
    )


def _day_row(day: str, rows: list[Spent]) -> list[str]:
    nano, unpriced = sum(row.cost_nano_usd for row in rows), sum(row.unpriced_calls for row in rows)
    return [day, f"{sum(row.calls for row in rows):,}", figures.spent(nano, unpriced=unpriced)]


def _columns(day: str, rows: list[Spent], shown: list[str]) -> Iterator[charts.Column]:
    """A day's parts: the models that are shown, then all others as one."""
    costs = {str(row.key[1]): row.cost_nano_usd for row in rows}
    for model in shown:
        yield charts.Column(day, shorten(model, _NAME), _dollars(costs.pop(model, 0)))
    if costs:
        yield charts.Column(day, "(others)", _dollars(sum(costs.values())))


def by_dimension(name: str, spending: Spending) -> Section:
    """Spent by one dimension, dearest first."""
    rows, rest = spending.rows[:_BARS], spending.rows[_BARS:]
    whole = spending.total.cost_nano_usd
    named = [(shorten(row.key[0], _NAME), row.cost_nano_usd) for row in rows]
    left = sum(row.cost_nano_usd for row in rest)
    return Section(
        f"By {name}",
        f"{named[0][0]} makes {figures.share(named[0][1], whole)} of the cost.",
        Table((name, "runs", "calls", "cost", "share"), [_row(row, whole) for row in rows]),
        charts.bars([charts.Bar(label, _dollars(nano)) for label, nano in named]),
        _described(f"Bars of cost by {name}", [(label, show_usd(nano)) for label, nano in named]),
        [f"{len(rest):,} more {'has' if len(rest) == 1 else 'have'} {show_usd(left)}."] if rest else [],
    )


def _row(row: Spent, whole: int) -> list[str]:
    cost = figures.spent(row.cost_nano_usd, unpriced=row.unpriced_calls, estimated=row.estimated_calls)
    return [str(row.key[0]), f"{row.runs:,}", f"{row.calls:,}", cost, figures.share(row.cost_nano_usd, whole)]


def changed(found: Explanation) -> Iterator[Section]:
    """Why it costs more or less than before, and each cause."""
    effects = [effect for effect in found.effects if effect.difference]
    yield Section(
        "Why it changed",
        found.headline,
        Table(
            ("what changed", "difference"),
            [
                *([effect.label, signed(effect.difference)] for effect in effects),
                ["together", signed(found.difference)],
            ],
        )
        if effects
        else None,
        charts.bars(
            [charts.Bar(effect.label, _dollars(effect.difference)) for effect in effects], signed=True
        )
        if effects
        else None,
        _described(
            "Bars of what made the difference",
            [(effect.label, signed(effect.difference)) for effect in effects],
        ),
        found.notes,
    )
    for cause in found.causes:
        where = place_words(cause.place)
        rows = [
            ("where", where),
            ("likely cause", cause.cause),
            ("seen", "; ".join(cause.evidence)),
            ("what to do", cause.fix),
            ("runs that show it", ", ".join(cause.run_ids)),
        ]
        yield Section(
            f"{signed(cause.difference)}: {cause.symptom}",
            f"{signed(cause.difference)} of {signed(found.difference)}.",
            Table(("", ""), [row for row in rows if row[1]], names=2),
        )


def wasted(found: Audit) -> Section:
    """What need not have been spent."""
    rows = found.findings[:_FINDINGS]
    sentence = (
        f"{100 * found.share:.0f} % of {show_usd(found.nano_usd)} is avoidable: {show_usd(found.wasted_nano_usd)}."
        if rows
        else f"No waste was found in {show_usd(found.nano_usd)}."
    )
    table = [
        [finding.title, finding.fix, figures.tokens(finding.wasted_tokens), show_usd(finding.wasted_nano_usd)]
        for finding in rows
    ]
    named = [(shorten(finding.title, _NAME), finding.wasted_nano_usd) for finding in rows]
    return Section(
        "What need not have been spent",
        sentence,
        Table(("finding", "what to do", "tokens", "avoidable"), table, names=2) if rows else None,
        charts.bars([charts.Bar(name, _dollars(nano)) for name, nano in named]) if rows else None,
        _described("Bars of avoidable cost by finding", [(name, show_usd(nano)) for name, nano in named]),
    )


def saved(found: WhatIf) -> Section:
    """What usual changes would have saved."""
    title, savings = "What would have saved most", [each for each in found.savings if each.saved_nano_usd]
    if not savings:
        return Section(title, "None of the usual changes would have saved anything.")
    left = found.recorded_nano_usd - found.together.saved_nano_usd
    every = [*savings, found.together]
    return Section(
        title,
        f"With all of it, {show_usd(found.recorded_nano_usd)} would have been ≈ {show_usd(left)}.",
        Table(
            ("change", "calls", "saves"),
            [[each.name, f"{each.calls:,}", f"≈ {show_usd(each.saved_nano_usd)}"] for each in every],
        ),
        charts.bars([charts.Bar(each.name, _dollars(each.saved_nano_usd)) for each in every]),
        _described("Bars of savings", [(each.name, show_usd(each.saved_nano_usd)) for each in every]),
        [f"≈ {assumed}." for each in savings for assumed in each.assumes],
    )


def _notes_of(total: Spent) -> Iterator[str]:
    if total.unpriced_calls:
        yield f"+? {figures.count(total.unpriced_calls, 'call')} without a price, not in the cost."
    if total.estimated_calls:
        yield f"≈ {show_usd(total.estimated_nano_usd)} of it rests on estimated usage."


def _described(what: str, named: Sequence[tuple[str, str]]) -> str:
    """The picture in words."""
    told = "; ".join(f"{name} {figure}" for name, figure in named[:_READ_OUT])
    more = f"; {len(named) - _READ_OUT} more in the table" if len(named) > _READ_OUT else ""
    return f"{what}: {told}{more}."


def _dollars(nano_usd: int) -> float:
    return nano_usd / 1e9
