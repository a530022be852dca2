"""The page that `why` prints: the sentence, what changed with bars, the causes, and where the money went."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokentrace_core.analysis.why import Cause, Effect, Explanation
from tokentrace_core.analysis.why.words import number, percent, place_words, signed
from tokentrace_core.cli import figures
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd

_BAR = 20
_UP, _DOWN = "red", "green"
#: So many values of each dimension.
_VALUES = 3


def print_explanation(screen: Console, found: Explanation) -> None:
    """All of it, for people."""
    screen.print(Text(clean(found.headline), style="bold"))
    if found.effects:
        screen.print()
        _print_effects(screen, found)
    for number_of_cause, cause in enumerate(found.causes, start=1):
        screen.print()
        _print_cause(screen, number_of_cause, cause)
    if found.causes:
        screen.print()
        _print_changes(screen, found)
    for note in found.notes:
        screen.print(Text(clean(note), style="yellow"))


def _print_effects(screen: Console, found: Explanation) -> None:
    widest = max(abs(effect.difference) for effect in found.effects)
    shown = [
        effect
        for effect in found.effects
        if effect.difference or effect.before != effect.after or effect.name == "runs"
    ]
    print_table(
        screen,
        [
            Column("what changed"),
            *(Column(name, numeric=True) for name in ("before", "after", "difference")),
            Column(""),
        ],
        [
            [
                Text(effect.label),
                *(Text(_figure(effect, value)) for value in (effect.before, effect.after)),
                Text(signed(effect.difference)),
                _bar(effect.difference, widest),
            ]
            for effect in shown
        ],
        [
            Text("together"),
            *(Text(show_usd(side.cost)) for side in (found.before, found.after)),
            Text(signed(found.difference)),
            Text(""),
        ],
    )


def _figure(effect: Effect, value: float | None) -> str:
    if value is None:
        return "" if effect.before is effect.after is None else figures.UNKNOWN
    if effect.name in ("cache", "priced"):
        return percent(value)
    return f"{value:,.0f}" if effect.name == "runs" else number(value)


def _bar(difference: int, widest: int) -> Text:
    length = round(_BAR * abs(difference) / widest) if difference else 0
    return Text("█" * length if length or not difference else "▏", style=_UP if difference > 0 else _DOWN)


def _print_cause(screen: Console, place: int, cause: Cause) -> None:
    where = place_words(cause.place)
    screen.print(
        Text.assemble(
            f"{place}. ",
            (signed(cause.difference), f"bold {_UP if cause.difference > 0 else _DOWN}"),
            f"  {clean(cause.symptom)}",
            (f" · {clean(where)}" if where else "", "bold"),
        )
    )
    told = {
        "cause": cause.cause,
        "seen": "; ".join(cause.evidence),
        "fix": cause.fix,
        "runs": " ".join(cause.run_ids),
    }
    lines = Table.grid(padding=(0, 1, 0, 0))
    for name, text in told.items():
        if text:
            lines.add_row(Text(f"   {name}", style="dim"), Text(clean(text), overflow="fold"))
    screen.print(lines)


def _print_changes(screen: Console, found: Explanation) -> None:
    rows = [
        (dimension if place == 0 else "", change)
        for dimension, changes in found.changes.items()
        if len(changes) > 1
        for place, change in enumerate(changes[:_VALUES])
        if change.difference
    ]
    if not rows:
        return
    print_table(
        screen,
        [
            Column("by"),
            Column("", flexible=True),
            *(Column(name, numeric=True) for name in ("before", "after", "difference")),
        ],
        [
            [
                Text(dimension),
                Text(clean(change.name)),
                Text(show_usd(change.before)),
                Text(show_usd(change.after)),
                Text(signed(change.difference)),
            ]
            for dimension, change in rows
        ],
    )
