"""Loops: the same tool called with the same arguments in one run, with the same result, three times or more.

Three identical calls are a loop (requirements.md S69, T10). Identical are tool and arguments (canonical JSON), and here the result, too: one
who polls until something changes gets another result in the end. What follows a failure is a retry, and judged as one.

Wasted are the model calls that asked for the third and each further time: a guard that stops a loop does so at the third. What
a call without recorded arguments was asked cannot be said, so it is never part of a loop.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.attempts import Asked
from tokentrace_core.analysis.audit.calls import Call, ToolUse
from tokentrace_core.analysis.audit.findings import Tally, Title, plain
from tokentrace_core.analysis.audit.results import Results

KIND = "loop"
#: Requirements.md T10: “a loop is ≥ 3 identical calls”.
IDENTICAL = 3


def look(
    alike: Iterable[list[ToolUse]], asked: Asked, results: Results, account: Account, tally: Tally
) -> None:
    """The loops of one run among its tool calls that are alike."""
    for same in alike:
        for similar in _similar(same):
            if _needless(similar, asked, account):
                _look_closer(results.alike(similar), asked, account, tally)


def _look_closer(rounds: list[list[ToolUse]], asked: Asked, account: Account, tally: Tally) -> None:
    for round_ in rounds:
        needless = _needless(round_[IDENTICAL - 1 :], asked, account) if len(round_) >= IDENTICAL else []
        if needless:
            call, tool = needless[0], round_[0].name
            tally.add(KIND, call, (call.who, tool), partial(_title, call, tool), map(account.whole, needless))


def _needless(tools: list[ToolUse], asked: Asked, account: Account) -> list[Call]:
    """The model calls that asked for nothing else, and that nobody has claimed."""
    return [call for call in asked.only_for(tools) if not account.is_gone(call)]


def _title(call: Call, tool: str) -> Title:
    return Title(
        f"{plain(call.who)}: {plain(tool)} called again and again with the same arguments and result ({{times}} in all)"
    )


def _similar(alike: list[ToolUse]) -> list[list[ToolUse]]:
    """Of calls with the same arguments those whose results may be the same, three and more."""
    similar: dict[object, list[ToolUse]] = defaultdict(list)
    for tool in alike:
        # Where retention has taken a result, only its size is left: nobody can say that two were the same.
        known = not (tool.begins or "").startswith("[expired: ")
        if tool.status == "success" and tool.arguments_hash is not None and known:
            similar[tool.begins, tool.result_bytes].append(tool)
    return [tools for tools in similar.values() if len(tools) >= IDENTICAL]
