"""The figures in sentences: a headline that a manager reads, and the evidence of each cause."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tokentrace_core.analysis.why.effects import Rates
from tokentrace_core.analysis.why.explanation import Cause, Summary
from tokentrace_core.money import show_usd

#: Changes of this part are called none.
_FLAT = 0.05
_SAME = 0.02
_MULTIPLES = ((0.5, "halved"), (2.0, "doubled"), (3.0, "tripled"))
#: So near a multiple that it is called one.
_NEAR = 0.12


def headline(before: Summary, after: Summary, causes: tuple[Cause, ...]) -> str:
    """What happened, on what traffic, and why, in one or two sentences."""
    if not before.runs and not after.runs:
        return f"No run in {before.name}, and none in {after.name}: there is nothing to compare."
    if not before.runs or not after.runs:
        empty, other = (before, after) if not before.runs else (after, before)
        return (
            f"No run in {empty.name}; {other.name} has {count(other.runs, 'run')} for {show_usd(other.cost)}. "
            "There is nothing to compare with."
        )
    said = _what_happened(before, after)
    # That a longer period has more runs is no cause.
    told = next((cause for cause in causes if same_length(before, after) or cause.name != "more_runs"), None)
    if told is None:
        return said if before.cost == after.cost or causes else f"{said} Nothing stands out."
    if same_length(before, after) and before.cost and abs(after.cost / before.cost - 1) <= _SAME:
        return f"{said} What rose and what fell even out."
    why = f": {told.cause}" if told.cause else ""
    return (
        f"{said} {told.symptom}{_in(told.place)} ({_made(told.difference, after.cost - before.cost)}){why}."
    )


def _what_happened(before: Summary, after: Summary) -> str:
    runs, costs = (before.runs, after.runs), (before.cost, after.cost)
    if same_length(before, after):
        figures = f"{show_usd(costs[0])} → {show_usd(costs[1])}"
        return f"Cost {_moved(*costs)} {_traffic(*runs)}: {figures}."
    assert before.days
    assert after.days
    days = before.days, after.days
    daily = [(cost / length, run / length) for cost, run, length in zip(costs, runs, days, strict=True)]
    figures = f"{show_usd(round(daily[0][0]))} → {show_usd(round(daily[1][0]))}"
    return (
        f"Cost a day {_moved(daily[0][0], daily[1][0])} {_traffic(daily[0][1], daily[1][1], ' a day')}: {figures} a day, "
        f"{show_usd(costs[0])} in {days[0]:.1f} days → {show_usd(costs[1])} in {days[1]:.1f}."
    )


def _traffic(before: float, after: float, unit: str = "") -> str:
    """How the number of runs changed."""
    change = after / before - 1
    runs = f"{before:,.0f} → {after:,.0f} runs{unit}"
    if abs(change) <= _FLAT:
        return f"on flat traffic ({runs})"
    return f"with {percent(abs(change))} {'more' if change > 0 else 'fewer'} runs ({runs})"


def _made(part: int, difference: int) -> str:
    """How much of the difference a cause is; one that goes against it, or beyond it, in dollars."""
    share = part / difference if difference else 0
    return f"{percent(min(share, 1))} of it" if 0 < share < 1.1 else signed(part)


def same_length(before: Summary, after: Summary) -> bool:
    """Whether the periods can be compared as they are; those without an end on some side can."""
    if before.days is None or after.days is None:
        return True
    return abs(before.days - after.days) <= _FLAT * max(before.days, after.days)


def place_words(place: Mapping[str, str]) -> str:
    """`step answer of agent support, user ada`."""
    parts = []
    if "step" in place:
        parts.append(f"step {place['step']}")
    owner = place.get("agent") or place.get("run")
    if owner:
        kind = "agent" if "agent" in place else "runs"
        parts.append(f"{'of ' if parts else ''}{kind} {owner}")
    words = " ".join(parts)
    rest = [f"{name} {place[name]}" for name in ("tool", "model", "user") if name in place]
    return ", ".join(filter(None, [words, *rest]))


def moved(name: str, before: float | Fraction, after: float | Fraction, unit: str = "") -> str:
    """`search: 1.2 → 3.4 kB`."""
    times = f" ({float(after / before):.1f} times)" if before and after / before >= 1.1 else ""
    return f"{name}: {number(before)} → {number(after)}{unit}{times}"


def price_moved(model: str, before: Rates, after: Rates) -> str:
    """Prices per million tokens, in and out."""
    told = [
        f"{what} ${float(one) / 1_000:,.4g} → ${float(other) / 1_000:,.4g}"
        for what, one, other in (
            ("in", before[0], after[0]),
            ("from the cache", before[1], after[1]),
            ("out", before[4], after[4]),
        )
        if one != other
    ]
    return f"{model} per million tokens: {', '.join(told) or 'fees per call changed'}"


def number(value: float | Fraction) -> str:
    """`1,234`, `12.3`, `0.42`."""
    if isinstance(value, int):
        return f"{value:,}"
    amount = float(value)
    return (
        f"{amount:,.0f}" if abs(amount) >= 100 else f"{amount:.1f}" if abs(amount) >= 10 else f"{amount:.2f}"
    )


def count(amount: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def signed(nano_usd: int) -> str:
    """`+$1.20`."""
    return f"{'+' if nano_usd > 0 else ''}{show_usd(nano_usd)}"


def _moved(before: float, after: float) -> str:
    if before == after:
        return "is the same"
    if not before:
        return "rose from nothing"
    times = after / before
    if abs(times - 1) <= _SAME:
        change = f"{100 * (times - 1):+.1f} %"
        return f"is about the same ({change})" if change[1:] != "0.0 %" else "is the same within 0.1 %"
    for multiple, word in _MULTIPLES:
        if abs(times / multiple - 1) <= _NEAR:
            return word
    if times > 2:
        return f"is {times:.1f} times what it was"
    return f"{'rose' if times > 1 else 'fell'} by {percent(abs(times - 1))}"


def _in(place: Mapping[str, str]) -> str:
    words = place_words(place)
    return f", {words}" if words else ""


def percent(part: float | Fraction) -> str:
    """`34 %`, `4.5 %`."""
    amount = 100 * float(part)
    return f"{amount:.0f} %" if amount >= 9.5 else f"{amount:.1f} %"
