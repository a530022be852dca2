"""This week's audit against that of the week before: what is new, what got worse, what is gone (requirements.md S134).

A finding is the same in both weeks if kind and cause are. Weeks are the seven days up to now and the seven before; what matters is the
change, so a waste that is as large as it was is no regression, however large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from tokentrace_core.analysis.audit.findings import Finding
from tokentrace_core.analysis.audit.report import Audit, audit
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.pieces import Tell
from tokentrace_core.store.reader import Reader

_WEEK_US = 7 * 86_400_000_000
#: A waste is worse if it costs a fifth more than last week, and at least this much more: a cent.
WORSE_BY = 0.2
LEAST_NANO_USD = 10_000_000

Became = Literal["new", "worse", "better", "gone", "same"]


@dataclass(frozen=True)
class Change:
    """One finding, in two weeks."""

    finding: Finding
    """As it is this week; if it is gone, as it was."""
    before_nano_usd: int
    now_nano_usd: int

    @property
    def became(self) -> Became:
        more = self.now_nano_usd - self.before_nano_usd
        matters = abs(more) >= LEAST_NANO_USD and abs(more) > WORSE_BY * self.before_nano_usd
        if not self.before_nano_usd:
            return "new"
        if not self.now_nano_usd:
            return "gone"
        return "same" if not matters else "worse" if more > 0 else "better"

    @property
    def is_regression(self) -> bool:
        return self.became in ("new", "worse")


@dataclass(frozen=True)
class Weeks:
    """Both audits and what changed, the largest growth first."""

    before: Audit
    now: Audit
    changes: tuple[Change, ...]

    @property
    def regressions(self) -> list[Change]:
        return [change for change in self.changes if change.is_regression]


def weekly(
    reader: Reader,
    scope: Scope | None = None,
    *,
    prices: PriceBook | None = None,
    tell: Tell = lambda _: None,
) -> Weeks:
    """The last seven days (up to the scope's end, if it has one) against the seven before."""
    scope = scope or Scope()
    end = scope.until or int(datetime.now(UTC).timestamp() * 1_000_000)
    weeks = [replace(scope, since=end - age * _WEEK_US, until=end - (age - 1) * _WEEK_US) for age in (2, 1)]
    before, now = (audit(reader, week, prices=prices, tell=tell) for week in weeks)
    return Weeks(before, now, _changes(before, now))


def _changes(before: Audit, now: Audit) -> tuple[Change, ...]:
    old, new = ({(each.kind, each.cause): each for each in week.findings} for week in (before, now))
    found = [
        Change(
            new.get(which) or old[which],
            old[which].wasted_nano_usd if which in old else 0,
            new[which].wasted_nano_usd if which in new else 0,
        )
        for which in {**new, **old}
    ]
    return tuple(sorted(found, key=lambda change: change.before_nano_usd - change.now_nano_usd))
