"""The audit as a whole: every kind of waste looked for, in the order in which they may claim."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tokentrace_core.analysis.audit import (
    called_again,
    context_rot,
    expensive_model,
    oversized_result,
    preamble,
    sent_again,
    unused_tools,
)
from tokentrace_core.analysis.audit.account import PRECEDENCE, Account
from tokentrace_core.analysis.audit.calls import PROMPT, Trace
from tokentrace_core.analysis.audit.findings import Finding
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader

Look = Callable[[Trace, Account], list[Finding]]
Tell = Callable[[str, int, int], None]
"""Progress: what is looked for, how many looks are done, of how many."""

#: What is looked for, in the order of `account.PRECEDENCE`.
LOOKS: dict[str, Look] = {
    "what was called again": called_again.find,
    "what was sent again": sent_again.find,
    "oversized results": oversized_result.find,
    "unused tools": unused_tools.find,
    "context rot": context_rot.find,
    "filler": preamble.find,
    "expensive models": expensive_model.find,
}
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
    tell: Tell = lambda what, done, of: None,
) -> Audit:
    """Audit a trace file: by default its last 30 days. `prices`: the book that the calls were priced with."""
    with ExitStack() as opened:
        reader = file if isinstance(file, Reader) else opened.enter_context(Reader(file))
        if scope is None:
            scope = last_days()
        trace = Trace(reader, scope)
        account = Account(CallRates(prices or PriceBook.default()))
        found: list[Finding] = []
        for done, (what, look) in enumerate(LOOKS.items()):
            tell(what, done, len(LOOKS))
            found += look(trace, account)
        tell("sums", len(LOOKS), len(LOOKS))
        found.sort(key=lambda finding: (-finding.wasted_nano_usd, -finding.wasted_tokens, finding.title))
        return Audit(scope, tuple(found), *_totals(trace))


def last_days() -> Scope:
    """The time of an audit that is told none: 30 days."""
    return Scope(since=int(datetime.now(UTC).timestamp() * 1_000_000) - DAYS * 86_400_000_000)


def _totals(trace: Trace) -> tuple[int, int, int, int, int, int]:
    expired = "c.run_id in (select id from main.runs where expired is not null)"
    gone = expired if trace.has_column("runs", "expired") else "false"
    tokens = f"{PROMPT} + coalesce(c.output_tokens, 0)"
    sql, parameters = trace.alone("calls").select(
        f"""count(*), coalesce(sum({tokens}), 0), coalesce(sum(c.cost_nano_usd), 0),
            coalesce(sum(c.usage_source = 'estimated'), 0), coalesce(sum(c.cost_status = 'unpriced'), 0),
            coalesce(sum(c.prompt_id is null or {gone}), 0)"""
    )
    calls, total, nano, estimated, unpriced, unreadable = next(trace.rows(sql, parameters))
    return calls, total, nano, estimated, unpriced, unreadable
