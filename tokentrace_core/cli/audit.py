"""`tokentrace audit`: where the money went that need not have, worst first, with the calls that prove it and the fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress
from rich.text import Text

from tokentrace_core.analysis.audit import Audit, Finding, audit
from tokentrace_core.analysis.audit.report import Tell
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.cli import figures, main
from tokentrace_core.cli.document import money
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.cli.table import Column, print_table
from tokentrace_core.cli.text import clean
from tokentrace_core.money import show_usd
from tokentrace_core.store.reader import Reader

#: What a shell sees when more is wasted than `--fail-over` allows.
TOO_MUCH = 3
_DAY_US = 86_400_000_000
_SHOWN_CALLS = 3
_COLUMNS = (
    Column("#", numeric=True),
    Column("avoidable", numeric=True),
    Column("share", numeric=True),
    Column("tokens", numeric=True),
    Column("calls", numeric=True),
    Column("finding", flexible=True),
)


class _Percent(click.ParamType[float]):
    name = "PERCENT"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """`20%` and `20` as 0.2."""
        if isinstance(value, float):
            return value
        try:
            part = float(str(value).strip().removesuffix("%")) / 100
        except ValueError:
            part = -1.0
        if not 0 <= part <= 1:
            self.fail(f"{value!r} is no share: write 20%, from 0% to 100%.", param, context)
        return part


@main.command(name="audit")
@scope_options
@click.option(
    "--fail-over",
    type=_Percent(),
    help=f"Exit with {TOO_MUCH} if more than this part of the cost is avoidable: 20%.",
)
@click.option(
    "--sql",
    "number",
    type=click.IntRange(min=1),
    help="Print the SQL that proves finding #, and nothing else.",
)
@common_options
@pass_settings
def command(settings: Settings, scope: Scope, fail_over: float | None, number: int | None) -> None:
    """What need not have been spent: by cause, in dollars, with proof and fix.

    Looks at the last 30 days unless --since says otherwise, for: retry storms, loops, payloads sent to each of several parallel
    sub-agents, files fetched and sent again, broken and unused prompt caches, and filler before the answer. Amounts are net
    of cache discounts, and no dollar is counted in two findings. `--sql 1` prints a query that shows the calls behind
    finding 1: pipe it into `sqlite3 FILE`.
    """
    with Reader(settings.path) as reader, _progress(settings) as tell:
        found = audit(reader, None if _is_default(scope) else scope, tell=tell)
    if number is not None:
        click.echo(_finding(found, number).sql)
        return
    if settings.json:
        write_json(_document(found))
    else:
        _print(console(), found)
    if fail_over is not None and found.share > fail_over:
        click.echo(
            f"{_percent(found.share)} of the cost is avoidable, more than {_percent(fail_over)}.", err=True
        )
        raise click.exceptions.Exit(TOO_MUCH)


def _is_default(scope: Scope) -> bool:
    return scope == Scope()


def _finding(found: Audit, number: int) -> Finding:
    if number > len(found.findings):
        raise click.UsageError(f"there is no finding {number}; there are {len(found.findings)}.")
    return found.findings[number - 1]


@contextmanager
def _progress(settings: Settings) -> Iterator[Tell]:
    """A bar on stderr, if somebody looks at it."""
    if settings.json or not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("auditing", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bars.update(task, description=what, completed=done, total=of)

        yield tell


def _document(found: Audit) -> dict[str, Any]:
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


def _print(screen: Console, found: Audit) -> None:
    screen.print(Text(_summary(found), style="bold"))
    if found.findings:
        screen.print()
        rows = [_row(place, finding, found) for place, finding in enumerate(found.findings, 1)]
        print_table(screen, _COLUMNS, rows)
    for place, finding in enumerate(found.findings, 1):
        _print_fix(screen, place, finding)
    for note in _notes(found):
        screen.print(Text(note, style="yellow"))


def _summary(found: Audit) -> str:
    if not found.calls:
        return "No model calls in this time: nothing to audit."
    spent = figures.spent(found.nano_usd, unpriced=found.unpriced_calls, estimated=found.estimated_calls)
    if not found.findings:
        return f"No waste found in {spent} ({figures.count(found.calls, 'call')}, {figures.count(found.tokens, 'token')})."
    return (
        f"{_percent(found.share)} of {spent} is avoidable: {show_usd(found.wasted_nano_usd)} and "
        f"{figures.count(found.wasted_tokens, 'token')} of {found.tokens:,}, in {figures.count(len(found.findings), 'finding')}."
    )


def _percent(part: float) -> str:
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
    screen.print(Padding(Text(clean(proof), style="dim"), (0, 0, 0, 3)))


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
