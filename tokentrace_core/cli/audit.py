"""`tokentrace audit`: where the money went that need not have, worst first, with the calls that prove it and the fix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tokentrace_core.analysis.audit import Answer, Audit, Finding, Weeks, ask, audit, saved_queries, weekly
from tokentrace_core.analysis.audit.report import last_days
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.cli import main
from tokentrace_core.cli.audit_page import (
    answers_document,
    audit_document,
    percent,
    print_answers,
    print_audit,
    print_weeks,
    weeks_document,
)
from tokentrace_core.cli.options import Settings, common_options, pass_settings
from tokentrace_core.cli.output import console, write_json
from tokentrace_core.cli.progress import progress
from tokentrace_core.cli.scope_options import scope_options
from tokentrace_core.store.reader import Reader

#: What a shell sees when more is wasted than `--fail-over` allows.
TOO_MUCH = 3


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
    "--weekly", "by_week", is_flag=True, help="The last seven days against the seven before: what got worse."
)
@click.option(
    "--fail-over",
    type=_Percent(),
    help=f"Exit with {TOO_MUCH} if more than this part of the cost is avoidable: 20%.",
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    envvar="TOKENTRACE_QUERIES",
    show_envvar=True,
    help="A folder of your own queries, NAME.sql each, asked with the audit.",
)
@click.option(
    "--sql",
    "number",
    type=click.IntRange(min=1),
    help="Print the SQL that proves finding #, and nothing else.",
)
@common_options
@pass_settings
def command(
    settings: Settings,
    scope: Scope,
    by_week: bool,
    fail_over: float | None,
    queries: Path | None,
    number: int | None,
) -> None:
    """What need not have been spent: by cause, in dollars, with proof and fix.

    Looks at the last 30 days unless --since says otherwise, for retry storms, loops, payloads sent to each of several parallel
    sub-agents, files fetched and sent again, broken and unused prompt caches, oversized tool results, unused tool
    definitions, prompts that grow run over run, filler before the answer, and large models on trivial steps. Amounts are net of
    cache discounts, and no dollar is counted in two findings.

    `--sql 1` prints a query that shows the calls behind finding 1: pipe it into `sqlite3 FILE`. A saved query may use :since and
    :until, the time of the audit in microseconds; its first line, if a comment, is its title.
    """
    asked = saved_queries(queries) if queries else {}
    weeks: Weeks | None = None
    with Reader(settings.path) as reader, progress(settings) as tell:
        if by_week:
            weeks = weekly(reader, scope, tell=tell)
            found = weeks.now
        else:
            found = audit(reader, _recent(scope), tell=tell)
        answers = list(ask(reader, asked, found.scope))
    if number is not None:
        click.echo(_finding(found, number).sql)
        return
    _show(settings, found, weeks, answers)
    if fail_over is not None and found.share > fail_over:
        click.echo(
            f"{percent(found.share)} of the cost is avoidable, more than {percent(fail_over)}.", err=True
        )
        raise click.exceptions.Exit(TOO_MUCH)


def _recent(scope: Scope) -> Scope:
    """Of the last 30 days, unless it says since when."""
    return (
        scope
        if scope.since is not None or scope.until is not None
        else replace(scope, since=last_days().since)
    )


def _finding(found: Audit, number: int) -> Finding:
    if number > len(found.findings):
        raise click.UsageError(f"there is no finding {number}; there are {len(found.findings)}.")
    return found.findings[number - 1]


def _show(settings: Settings, found: Audit, weeks: Weeks | None, answers: list[Answer]) -> None:
    if settings.json:
        document = weeks_document(weeks) if weeks else audit_document(found)
        write_json(document | {"queries": answers_document(answers)})
        return
    screen = console()
    if weeks:
        print_weeks(screen, weeks)
    else:
        print_audit(screen, found)
    print_answers(screen, answers)
