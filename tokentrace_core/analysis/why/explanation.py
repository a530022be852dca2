"""What `why` answers: plain values, all money in integer nano-dollars, and sentences that say them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tokentrace_core.money import to_usd


@dataclass(frozen=True)
class Summary:
    """One of the two periods."""

    name: str
    since: int | None
    until: int | None
    """Microseconds since the epoch."""
    runs: int
    calls: int
    """Model calls that a provider answered."""
    cost: int
    estimated: int
    """The part of the cost that rests on estimated usage."""
    tool_cost: int
    unpriced_calls: int
    unpriced_tokens: int

    @property
    def days(self) -> float | None:
        """How long it is; None if it has no beginning or no end."""
        return (
            None if self.since is None or self.until is None else (self.until - self.since) / 86_400_000_000
        )


@dataclass(frozen=True)
class Effect:
    """What one thing that changed made of the difference. All of them add up to it."""

    name: str
    label: str
    difference: int
    before: float | None = None
    after: float | None = None
    """The figure itself, over the whole period; None where it is no single figure."""


@dataclass(frozen=True)
class Cause:
    """Why, in words, where, and what to do about it."""

    name: str
    difference: int
    """Its part of the difference. No dollar is in two causes."""
    symptom: str
    cause: str
    fix: str
    place: dict[str, str] = field(default_factory=dict)
    """run, agent, step, tool, user, model: where most of it is."""
    evidence: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    """Runs of the later period that show it."""


@dataclass(frozen=True)
class Change:
    """What was spent at one value of a dimension."""

    name: str
    before: int
    after: int

    @property
    def difference(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class Explanation:
    """The difference between two periods, explained."""

    headline: str
    before: Summary
    after: Summary
    effects: tuple[Effect, ...] = ()
    """In a fixed order; their differences add up to `difference`."""
    causes: tuple[Cause, ...] = ()
    """The one with the most dollars first."""
    changes: dict[str, tuple[Change, ...]] = field(default_factory=dict)
    """Dimension -> its values, the greatest change first; each dimension adds up to `difference`."""
    notes: tuple[str, ...] = ()
    """What the figures leave out, or should be read with."""

    @property
    def difference(self) -> int:
        """In nano-dollars."""
        return self.after.cost - self.before.cost

    def document(self) -> dict[str, Any]:
        """As JSON: money as exact texts in dollars and as integers in nano-dollars."""
        return {
            "headline": self.headline,
            "before": _summary(self.before),
            "after": _summary(self.after),
            **_money("difference", self.difference),
            "effects": [
                {"name": each.name, "label": each.label, "before": each.before, "after": each.after}
                | _money("difference", each.difference)
                for each in self.effects
            ],
            "causes": [
                {
                    "name": each.name,
                    **_money("difference", each.difference),
                    "symptom": each.symptom,
                    "cause": each.cause,
                    "fix": each.fix,
                    "place": each.place,
                    "evidence": list(each.evidence),
                    "run_ids": list(each.run_ids),
                }
                for each in self.causes
            ],
            "changes": {
                dimension: [
                    {"name": each.name}
                    | _money("before", each.before)
                    | _money("after", each.after)
                    | _money("difference", each.difference)
                    for each in changes
                ]
                for dimension, changes in self.changes.items()
            },
            "notes": list(self.notes),
        }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "since": summary.since,
        "until": summary.until,
        "runs": summary.runs,
        "calls": summary.calls,
        **_money("cost", summary.cost),
        **_money("estimated", summary.estimated),
        **_money("tool_cost", summary.tool_cost),
        "unpriced_calls": summary.unpriced_calls,
        "unpriced_tokens": summary.unpriced_tokens,
    }


def _money(name: str, nano_usd: int) -> dict[str, Any]:
    text = f"{to_usd(nano_usd):f}"
    exact = text.rstrip("0").rstrip(".") if "." in text else text
    return {f"{name}_usd": exact, f"{name}_nano_usd": nano_usd}
