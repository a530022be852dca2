"""`tokentrace cost users|tools|success|failed`: the questions that a bill raises, each with an answer to read and one in JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.text import Text

from tokentrace_core.analysis.questions import (
    DrivingTool,
    Outcome,
    User,
    cost_of_success,
    driving_tools,
    spent_on_failures,
    top_users,
)
from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.spent import Spent
from tokentrace_core.cli import figures
from tokentrace_core.cli.document import money
from tokentrace_core.cli.sums import document, notes, sum_of
from tokentrace_core.cli.table import Group, print_groups
from tokentrace_core.cli.text import clean
from tokentrace_core.pricing import show_usd
from tokentrace_core.store.reader import Reader

#: A success that costs so much more than before is worth a look (requirements.md S75).
_DEARER = 0.20
_WEEK_US = 7 * 86_400_000_000
_MOST_WEEKS = 53


class Asked(NamedTuple):
    """What a question is about. `changed` and `versions` are for `success` only."""

    scope: Scope
    changed: int | None
    versions: str | None


class Answer(NamedTuple):
    """For programs, and for people."""

    document: dict[str, Any]
    show: Callable[[Console], None]


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────


def _users(reader: Reader, asked: Asked) -> Answer:
    found = top_users(reader, asked.scope)
    rows = [
        {
            "user": user.spent.key[0],
            **document(user.spent, found.total),
            "days": user.days,
            "dearest_day": user.dearest_day,
            "dearest_day_usd": figures.exact_usd(user.dearest_day_nano_usd),
        }
        for user in found.users
    ]

    def show(screen: Console) -> None:
        part = figures.share(found.top.cost_nano_usd, found.total.cost_nano_usd)
        who = f"{len(found.users):,} of {figures.count(found.of, 'user')}"
        screen.print(
            Text(f"The dearest tenth, {who}, spent {sum_of(found.top)}: {part} of {sum_of(found.total)}.")
        )
        headers = ("runs", "cost", "share", "days", "per day", "dearest day")
        total = found.total.cost_nano_usd
        if found.users:
            print_groups(screen, Group(["user"], headers), [_user(user, total) for user in found.users])
        for note in notes(found.total):
            screen.print(note)

    return Answer(
        {
            "users": found.of,
            "rows": rows,
            "top": document(found.top, found.total),
            "total": document(found.total, found.total),
        },
        show,
    )


def _user(user: User, total: int) -> Group:
    spent = user.spent
    dearest = f"{show_usd(user.dearest_day_nano_usd)} on {user.dearest_day}"
    per_day = show_usd(spent.cost_nano_usd // user.days)
    share = figures.share(spent.cost_nano_usd, total)
    return Group(
        [clean(spent.key[0])], [f"{spent.runs:,}", sum_of(spent), share, f"{user.days:,}", per_day, dearest]
    )


# ── tools ────────────────────────────────────────────────────────────────────────────────────────────────


def _tools(reader: Reader, asked: Asked) -> Answer:
    found = driving_tools(reader, asked.scope)

    def per_run(calls: int, runs: int) -> float:
        return calls / runs if runs else 0.0

    def row(tool: DrivingTool) -> dict[str, Any]:
        return {
            "tool": tool.name,
            "led_steps": tool.led_steps,
            "led_usd": figures.exact_usd(tool.led_nano_usd),
            "led_share": tool.led_nano_usd / found.cost_nano_usd if found.cost_nano_usd else None,
            "runs": tool.runs,
            "calls_per_run": per_run(tool.calls, found.runs),
            "calls_per_other_run": per_run(tool.other_calls, found.other_runs),
        }

    rows = [row(tool) for tool in found.tools]

    def show(screen: Console) -> None:
        if not found.runs:
            screen.print(Text("No runs to look at."))
            return
        steps = f"{per_run(found.steps, found.runs):.1f} steps against {per_run(found.other_steps, found.other_runs):.1f}"
        whole = found.cost_nano_usd + found.other_cost_nano_usd
        screen.print(
            Text(
                f"The dearest tenth, {figures.count(found.runs, 'run')}, cost {show_usd(found.cost_nano_usd)}: "
                f"{figures.share(found.cost_nano_usd, whole)} of all. {steps} of the others."
            )
        )
        headers = ("steps after it", "their cost", "share", "calls per run", "others'")
        groups = [
            Group(
                [clean(tool.name)],
                [
                    f"{tool.led_steps:,}",
                    show_usd(tool.led_nano_usd),
                    figures.share(tool.led_nano_usd, found.cost_nano_usd),
                    f"{per_run(tool.calls, found.runs):.2f}",
                    f"{per_run(tool.other_calls, found.other_runs):.2f}",
                ],
            )
            for tool in found.tools
        ]
        if groups:
            print_groups(screen, Group(["tool"], headers), groups)
        _print_doubts(screen, found.unpriced_calls, found.estimated_calls)

    sums = {
        "runs": found.runs,
        "steps": found.steps,
        **money(found.cost_nano_usd),
        "other_runs": found.other_runs,
        "other_steps": found.other_steps,
        "other_cost_usd": figures.exact_usd(found.other_cost_nano_usd),
        "unpriced_calls": found.unpriced_calls,
        "estimated_calls": found.estimated_calls,
    }
    return Answer({"rows": rows, "dearest": sums}, show)


# ── success ──────────────────────────────────────────────────────────────────────────────────────────────


def _success(reader: Reader, asked: Asked) -> Answer:
    found = [
        group
        for group in cost_of_success(reader, _compared(reader, asked))
        if group.runs or not _is_week(asked)
    ]

    def show(screen: Console) -> None:
        if not any(group.runs for group in found):
            screen.print(Text("No runs to look at."))
            return
        headers = ("runs", "success", "cost", "per success", "change")
        groups = [
            Group([clean(group.name)], _outcome(group, before))
            for group, before in zip(found, [None, *found], strict=False)
        ]
        print_groups(screen, Group(["began" if _is_week(asked) else ""], headers), groups)
        screen.print(
            Text(
                "A success costs what all runs cost that are over, failed ones too, by the runs that succeeded."
            )
        )
        _print_doubts(
            screen, sum(each.unpriced_calls for each in found), sum(each.estimated_calls for each in found)
        )

    rows = [_outcome_document(group, before) for group, before in zip(found, [None, *found], strict=False)]
    return Answer({"rows": rows}, show)


def _is_week(asked: Asked) -> bool:
    return asked.changed is None and not asked.versions


def _compared(reader: Reader, asked: Asked) -> list[tuple[str, Scope]]:
    scope = asked.scope
    if asked.changed is not None and asked.versions:
        raise click.UsageError("--changed and --versions are two questions: ask one at a time.")
    if asked.versions:
        versions = [name.strip() for name in asked.versions.split(",")]
        if len(versions) < 2 or not all(versions):
            raise click.UsageError("--versions needs two or more, as in: --versions 2.3,2.4")
        return [(name, replace(scope, where={**scope.where, "version": (name,)})) for name in versions]
    if asked.changed is not None:
        if not (scope.since or 0) <= asked.changed <= (asked.changed if scope.until is None else scope.until):
            raise click.UsageError("--changed is outside of the time between --since and --until.")
        return [
            ("before", replace(scope, until=asked.changed)),
            ("after", replace(scope, since=asked.changed)),
        ]
    return _weeks(reader, scope)


def _weeks(reader: Reader, scope: Scope) -> list[tuple[str, Scope]]:
    """The last year, in weeks from Monday to Monday, UTC."""
    [(first, last)] = reader.execute("select min(started_at), max(started_at) from main.runs")
    if first is None:
        return []
    end = last + 1 if scope.until is None else min(scope.until, last + 1)
    day = datetime.fromtimestamp(end / 1_000_000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = int((day - timedelta(days=day.weekday())).timestamp()) * 1_000_000
    weeks: list[tuple[str, Scope]] = []
    begin = max(first, scope.since or 0)
    while monday + _WEEK_US > begin and len(weeks) < _MOST_WEEKS:
        part = replace(scope, since=max(monday, scope.since or 0), until=min(monday + _WEEK_US, end))
        weeks.append((figures.moment(monday, "%Y-%m-%d"), part))
        monday -= _WEEK_US
    return weeks[::-1]


def _change(group: Outcome, before: Outcome | None) -> float | None:
    now, then = group.per_success_nano_usd, before and before.per_success_nano_usd
    return now / then - 1 if now is not None and then else None


def _outcome(group: Outcome, before: Outcome | None) -> list[str]:
    def dollars(nano: float | None) -> str:
        if nano is None:
            return figures.UNKNOWN
        return figures.spent(round(nano), unpriced=group.unpriced_calls, estimated=group.estimated_calls)

    change = _change(group, before)
    said = figures.UNKNOWN if change is None else f"{100 * change:+.1f}%{' !' if change > _DEARER else ''}"
    rate = figures.share(group.successes, group.runs)
    return [f"{group.runs:,}", rate, dollars(group.cost_nano_usd), dollars(group.per_success_nano_usd), said]


def _outcome_document(group: Outcome, before: Outcome | None) -> dict[str, Any]:
    per_success, change = group.per_success_nano_usd, _change(group, before)
    return {
        "name": group.name,
        "runs": group.runs,
        "successes": group.successes,
        "unfinished": group.unfinished,
        **money(group.cost_nano_usd),
        "success_usd": figures.exact_usd(group.success_nano_usd),
        "per_success_usd": None if per_success is None else figures.exact_usd(round(per_success)),
        "change": None if change is None else round(change, 6),
        "unpriced_calls": group.unpriced_calls,
        "estimated_calls": group.estimated_calls,
    }


# ── failed ───────────────────────────────────────────────────────────────────────────────────────────────


def _failed(reader: Reader, asked: Asked) -> Answer:
    found = spent_on_failures(reader, asked.scope)
    kinds = {"failed": found.failed, "cancelled": found.cancelled, "unfinished": found.unfinished}

    def show(screen: Console) -> None:
        total = found.total.cost_nano_usd
        part = figures.share(found.failed.cost_nano_usd, total)
        screen.print(
            Text(f"{sum_of(found.failed)} of {sum_of(found.total)} ({part}) was spent on runs that failed.")
        )
        for name in ("cancelled", "unfinished"):
            if kinds[name].runs:
                of = figures.share(kinds[name].cost_nano_usd, total)
                screen.print(
                    Text(f"{sum_of(kinds[name])} ({of}) on {figures.count(kinds[name].runs, f'{name} run')}.")
                )
        if found.reasons:
            rows = [
                Group([clean(value) for value in row.key], _reason(row, found.failed))
                for row in found.reasons
            ]
            print_groups(screen, Group(["status", "error"], ("runs", "calls", "cost", "share of it")), rows)
        for note in notes(found.total):
            screen.print(note)

    reasons = [
        {"status": row.key[0], "error_type": row.key[1], **document(row, found.failed)}
        for row in found.reasons
    ]
    sums = {name: document(spent, found.total) for name, spent in kinds.items()}
    return Answer({**sums, "reasons": reasons, "total": document(found.total, found.total)}, show)


def _reason(row: Spent, failed: Spent) -> list[str]:
    return [
        f"{row.runs:,}",
        f"{row.calls:,}",
        sum_of(row),
        figures.share(row.cost_nano_usd, failed.cost_nano_usd),
    ]


def _print_doubts(screen: Console, unpriced: int, estimated: int) -> None:
    if unpriced:
        screen.print(
            Text(f"+? {figures.count(unpriced, 'call')} without a price, not in the cost.", style="yellow")
        )
    if estimated:
        screen.print(
            Text(f"≈ {figures.count(estimated, 'call')} without reported usage: the cost is estimated.")
        )


QUESTIONS: dict[str, Callable[[Reader, Asked], Answer]] = {
    "users": _users,
    "tools": _tools,
    "success": _success,
    "failed": _failed,
}
