"""An audit on a terminal and as JSON: the summary, the findings, what to do about each, and what changed since last week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from tokentrace_core.analysis.audit import Answer, Audit, Finding, Weeks
from tokentrace_core.cli import figures
from tokentrace_core.cli.document import money
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.money import show_usd

_SHOWN_CALLS = 3
_SHOWN_ROWS = 10
_COLUMNS = (
    Column("#", numeric=True),
    Column("avoidable", numeric=True),
    Column("share", numeric=True),
    Column("tokens", numeric=True),
    Column("calls", numeric=True),
    Column("finding", flexible=True),
)
_CHANGES = (
    Column("became"),
    Column("last week", numeric=True),
    Column("this week", numeric=True),
    Column("finding", flexible=True),
)


def audit_document(found: Audit) -> dict[str, Any]:
    return {
        "since": figures.iso(found.scope.since),
        "until": figures.iso(found.scope.until),
        "calls": found.calls,
        "tokens": found.tokens,
        **money(found.nano_usd),
        "avoidable": {
            "share": round(found.share, 6),
            "tokens": found.wasted_tokens,
            **money(found.wasted_nano_usd),
        },
        "estimated_calls": found.estimated_calls,
        "unpriced_calls": found.unpriced_calls,
        "unreadable_calls": found.unreadable_calls,
        "findings": [_finding_document(finding) for finding in found.findings],
    }


def _finding_document(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "title": finding.title,
        "agent": finding.agent,
        "framework": finding.framework,
        "times": finding.times,
        "wasted_tokens": finding.wasted_tokens,
        "wasted_usd": figures.exact_usd(finding.wasted_nano_usd),
        "wasted_nano_usd": finding.wasted_nano_usd,
        "first_seen": figures.iso(finding.first_seen),
        "last_seen": figures.iso(finding.last_seen),
        "fix": finding.fix,
        "calls": [{"run_id": run_id, "id": call_id} for run_id, call_id in finding.calls],
        "sql": finding.sql,
    }


def print_audit(screen: Console, found: Audit) -> None:
    screen.print(Text(_summary(found), style="bold"))
    if found.findings:
        screen.print()
        rows = [_row(place, finding, found) for place, finding in enumerate(found.findings, 1)]
        print_table(screen, _COLUMNS, rows)
    for place, finding in enumerate(found.findings, 1):
        _print_fix(screen, place, finding)
    _print_notes(screen, found)


def _print_notes(screen: Console, found: Audit) -> None:
    for note in _notes(found):
        screen.print(Text(note, style="yellow"))


def _summary(found: Audit) -> str:
    if not found.calls:
        return "No model calls in this time: nothing to audit."
    spent = figures.spent(found.nano_usd, unpriced=found.unpriced_calls, estimated=found.estimated_calls)
    if not found.findings:
        return f"No waste found in {spent} ({figures.count(found.calls, 'call')}, {figures.count(found.tokens, 'token')})."
    return (
        f"{percent(found.share)} of {spent} is avoidable: {show_usd(found.wasted_nano_usd)} and "
        f"{figures.count(found.wasted_tokens, 'token')} of {found.tokens:,}, in {figures.count(len(found.findings), 'finding')}."
    )


def percent(part: float) -> str:
    percent = 100 * part
    return f"{percent:.0f} %" if percent >= 10 or not percent else f"{percent:.1f} %"


def _row(place: int, finding: Finding, found: Audit) -> list[Text]:
    return [
        Text(str(place)),
        Text(show_usd(finding.wasted_nano_usd)),
        Text(figures.share(finding.wasted_nano_usd, found.nano_usd)),
        Text(figures.tokens(finding.wasted_tokens)),
        Text(figures.tokens(len(finding.calls))),
        Text(clean(finding.title)),
    ]


def _print_fix(screen: Console, place: int, finding: Finding) -> None:
    seen = (
        f"{figures.moment(finding.first_seen, '%Y-%m-%d')} to {figures.moment(finding.last_seen, '%Y-%m-%d')}"
    )
    shown = ", ".join(f"{run_id[-8:]}/{call_id[-8:]}" for run_id, call_id in finding.calls[:_SHOWN_CALLS])
    more = len(finding.calls) - _SHOWN_CALLS
    proof = f"seen {seen}; run/call {shown}{f' and {more:,} more' if more > 0 else ''}"
    screen.print()
    screen.print(
        Text(f"{place}. {clean(finding.kind.replace('_', ' '))}: ", style="bold") + Text(finding.fix)
    )
    screen.print(Text(f"   {clean(proof)}", style="dim"))


def _notes(found: Audit) -> list[str]:
    notes = []
    if found.unpriced_calls:
        notes.append(
            f"+? {figures.count(found.unpriced_calls, 'call')} without a price could not be audited in dollars: `tokentrace prices` lists the models."
        )
    if found.estimated_calls:
        notes.append(f"≈ {figures.count(found.estimated_calls, 'call')} rest on estimated usage.")
    if found.unreadable_calls:
        notes.append(
            f"{figures.count(found.unreadable_calls, 'call')} could not be looked into: their texts are not in the file."
        )
    return notes


# ── week over week ───────────────────────────────────────────────────────────────────────────────────────


def weeks_document(weeks: Weeks) -> dict[str, Any]:
    return {
        **audit_document(weeks.now),
        "week_before": {
            "share": round(weeks.before.share, 6),
            "tokens": weeks.before.wasted_tokens,
            **money(weeks.before.wasted_nano_usd),
        },
        "changes": [
            {
                "became": change.became,
                "kind": change.finding.kind,
                "title": change.finding.title,
                "agent": change.finding.agent,
                "before_usd": figures.exact_usd(change.before_nano_usd),
                "before_nano_usd": change.before_nano_usd,
                "now_usd": figures.exact_usd(change.now_nano_usd),
                "now_nano_usd": change.now_nano_usd,
            }
            for change in weeks.changes
        ],
    }


def print_weeks(screen: Console, weeks: Weeks) -> None:
    before, now = weeks.before, weeks.now
    screen.print(
        Text(
            f"This week {show_usd(now.wasted_nano_usd)} of {show_usd(now.nano_usd)} is avoidable ({percent(now.share)}), "
            f"last week {show_usd(before.wasted_nano_usd)} of {show_usd(before.nano_usd)} ({percent(before.share)}): "
            f"{figures.count(len(weeks.regressions), 'regression')}.",
            style="bold",
        )
    )
    if weeks.changes:
        screen.print()
        rows = [
            [
                Text(change.became, style="red" if change.is_regression else ""),
                Text(show_usd(change.before_nano_usd)),
                Text(show_usd(change.now_nano_usd)),
                Text(clean(change.finding.title)),
            ]
            for change in weeks.changes
        ]
        print_table(screen, _CHANGES, rows)
    for place, change in enumerate(weeks.regressions, 1):
        _print_fix(screen, place, change.finding)
    _print_notes(screen, now)


# ── saved queries ────────────────────────────────────────────────────────────────────────────────────────


def answers_document(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "name": answer.name,
            "title": answer.title,
            "rows": [{name: _plain(value) for name, value in row.items()} for row in answer.rows],
            "more": answer.more,
            "failure": answer.failure,
        }
        for answer in answers
    ]


def print_answers(screen: Console, answers: Sequence[Answer]) -> None:
    for answer in answers:
        screen.print()
        found = figures.count(len(answer.rows), "row") + (" and more" if answer.more else "")
        screen.print(
            Text(
                f"{clean(answer.title)}: {clean(answer.failure or found)}",
                style="red" if answer.failure else "bold",
            )
        )
        if answer.rows:
            columns = [Column(clean(name), flexible=True) for name in answer.rows[0]]
            rows = [
                [Text(clean(_plain(value))) for value in row.values()] for row in answer.rows[:_SHOWN_ROWS]
            ]
            print_table(screen, columns, rows)


def _plain(value: object) -> object:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else value
