"""Retry storms: the same tool called with the same arguments again and again after it failed, or a prompt resent after a failed call.

An attempt is a call like the one before it, in the same conversation of the same run, when that one failed. A series is the first
attempt and all that follow until one succeeds. The policy (requirements.md S127, T15) is at most 2 retries, 3 attempts: a series
with more is a storm, and what was spent on the attempts beyond the third is wasted, the last of them included even if
it succeeded: with a pause before it the third would have.

What an attempt at a tool costs is the model call that asked for it, prompt and all, if it asked for nothing else, as
recorded: a resent prompt that came from the provider's cache cost what the cache charges. Tools that are retried without asking the
model cost nothing here. A model call that the provider refused costs nothing either, so such a storm can be one of no dollars.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.attempts import Asked
from tokentrace_core.analysis.audit.calls import Call, Talk, ToolUse
from tokentrace_core.analysis.audit.findings import Tally, Title, plain

KIND = "retry_storm"
#: Requirements.md S127: “maximum of 2 retries per tool per turn”; a turn is a run.
ATTEMPTS = 3
FAILED = ("failure", "timeout")

Tried = TypeVar("Tried", Call, ToolUse)


def look_at_tools(alike: Iterable[list[ToolUse]], asked: Asked, account: Account, tally: Tally) -> None:
    """The storms of one run among its tool calls that are alike."""
    for series, needless in tool_storms(alike, asked):
        if needless:
            call, tool = needless[0], series[0].name
            tally.add(
                KIND,
                call,
                (call.who, tool),
                partial(_title_of_tool, call, tool),
                map(account.whole, needless),
            )


def look_at_prompts(calls: Sequence[Call], account: Account, tally: Tally) -> None:
    """The storms of one run among its model calls."""
    for attempted in call_storms(calls):
        call = attempted[0]
        cause = call.who, "prompt", call.model or ""
        tally.add(
            KIND, call, cause, partial(_title_of_prompt, call), map(account.whole, attempted[ATTEMPTS:])
        )


def tool_storms(
    alike: Iterable[list[ToolUse]], asked: Asked, attempts: int = ATTEMPTS
) -> Iterator[tuple[list[ToolUse], list[Call]]]:
    """Series of more attempts at a tool than so many in one run, and the model calls that asked for those beyond and for nothing else."""
    for same in alike:
        for series in _series(same, attempts):
            yield series, asked.only_for(series[attempts:])


def call_storms(calls: Sequence[Call], attempts: int = ATTEMPTS) -> Iterator[list[Call]]:
    """Series of more attempts than so many at sending one prompt."""
    if sum(call.status in FAILED for call in calls) < attempts:
        return
    alike: dict[tuple[Talk, str | None, str | None], list[Call]] = defaultdict(list)
    for call in calls:
        if call.prompt_id is not None:
            alike[call.talk, call.model, call.prompt_id].append(call)
    for several in alike.values():
        yield from _series(several, attempts)


def _title_of_tool(call: Call, tool: str) -> Title:
    return Title(
        f"{plain(call.who)}: {plain(tool)} retried more than 2 times with the same arguments ({{times}} in all)"
    )


def _title_of_prompt(call: Call) -> Title:
    return Title(
        f"{plain(call.who)}: a failed prompt resent more than 2 times to {plain(call.model)} ({{times}} in all)"
    )


def _series(alike: Sequence[Tried], attempts: int) -> Iterator[list[Tried]]:
    """Attempts that follow each other, more than so many."""
    series: list[Tried] = []
    for attempt in alike:
        series.append(attempt)
        if attempt.status not in FAILED:
            yield from [series] if len(series) > attempts else []
            series = []
    yield from [series] if len(series) > attempts else []
