"""The audit as a whole: every kind of waste looked for, in the order in which they may claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from tokentrace_core.analysis.audit.account import PRECEDENCE, Account
from tokentrace_core.analysis.audit.beside import looked_at
from tokentrace_core.analysis.audit.days import LOOKS, Told, Totals, look_at, unpacked
from tokentrace_core.analysis.audit.findings import Finding
from tokentrace_core.analysis.audit.kept import Kept
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.trace import Day, Trace, has_prompt
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.pieces import Progress, Tell
from tokentrace_core.store.reader import Reader

KINDS = PRECEDENCE
DAYS = 30


@dataclass(frozen=True)
class Audit:
    """What was found, the dearest first."""

    scope: Scope
    findings: tuple[Finding, ...]
    calls: int
    tokens: int
    """In and out, of all calls that were looked at."""
    nano_usd: int
    """Their cost."""
    estimated_calls: int
    unpriced_calls: int
    """Without a price: they waste nothing that could be counted."""
    unreadable_calls: int
    """Their texts have gone, or were never recorded: not all could be looked for."""

    @property
    def wasted_tokens(self) -> int:
        return sum(finding.wasted_tokens for finding in self.findings)

    @property
    def wasted_nano_usd(self) -> int:
        return sum(finding.wasted_nano_usd for finding in self.findings)

    @property
    def share(self) -> float:
        """The avoidable part of the cost, 0 to 1."""
        return self.wasted_nano_usd / self.nano_usd if self.nano_usd else 0.0


def audit(
    file: str | Path | Reader,
    scope: Scope | None = None,
    *,
    prices: PriceBook | None = None,
    tell: Tell = lambda _: None,
) -> Audit:
    """Audit a trace file: by default its last 30 days. `prices`: the book that the calls were priced with."""
    with ExitStack() as opened:
        reader = file if isinstance(file, Reader) else opened.enter_context(Reader(file))
        if scope is None:
            scope = last_days()
        case = Case(Trace(reader, scope), Account(CallRates(prices or PriceBook.default())))
        looks = [look(case) for look in LOOKS]
        totals = _see(case, looks, tell)
        _see_again(case, looks, tell)
        found = [wasted.finding(case.prompts) for look in looks for wasted in look.wasted()]
        found.sort(key=lambda finding: (-finding.wasted_nano_usd, -finding.wasted_tokens, finding.title))
        return Audit(
            scope,
            tuple(found),
            totals.calls,
            totals.tokens,
            totals.nano_usd,
            totals.estimated_calls,
            totals.unpriced_calls,
            totals.unreadable_calls,
        )


def _see(case: Case, looks: list[Look[Any]], tell: Tell) -> Totals:
    totals, days = Totals(), list(case.trace.days())
    for told in _told(case, days, tell):
        of_day, *of_looks = told
        totals.join(of_day)
        for look, of_look in zip(looks, of_looks, strict=True):
            look.hear(of_look)
    return totals


def _told(case: Case, days: Sequence[Day], tell: Tell) -> Iterator[Told]:
    """What the days tell, first to last."""
    kept = Kept(case, days)
    found = kept.found()
    kept.claim(found)
    done = sum(told[0].runs for told in found.values())
    missing = [kept.to_look_at(day) for day in days if day.number not in found]
    made = looked_at(missing, case, tell, done, len(case.trace))
    beyond = kept.keep(made)
    for day in days:
        if day.number in beyond:
            made[day.number] = look_at(day, case)
        yield found.pop(day.number) if day.number in found else unpacked(made.pop(day.number))


def _see_again(case: Case, looks: list[Look[Any]], tell: Tell) -> None:
    again = {run_id for look in looks for run_id in look.again()}
    for waste in chain.from_iterable(wasted.wastes for look in looks for wasted in look.wasted()):
        if waste.key[0] in again:
            case.account.recall(waste)
    done = 0
    for page in case.trace.pages(again, wanted=has_prompt):
        tell(Progress("looking again", done, len(again)))
        for run in page.runs():
            for look in looks:
                look.see_again(run)
        done += len(page)


def last_days() -> Scope:
    """The time of an audit that is told none: 30 days."""
    return Scope(since=int(datetime.now(UTC).timestamp() * 1_000_000) - DAYS * 86_400_000_000)
