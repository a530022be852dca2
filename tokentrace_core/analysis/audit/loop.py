"""Loops: the same tool called with the same arguments in one run, with the same result, three times or more.

Three identical calls are a loop (requirements.md S69, T10). Identical are tool and arguments (canonical JSON), and here the result, too: one
who polls until something changes gets another result in the end. What follows a failure is a retry, and judged as one.

Wasted are the model calls that asked for the third and each further time: a guard that stops a loop does so at the third. What
a call without recorded arguments was asked cannot be said, so it is never part of a loop.
"""

from __future__ import annotations

from collections import defaultdict

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.attempts import Asked, same_tools
from tokentrace_core.analysis.audit.calls import ToolUse, Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally

#: Requirements.md T10: “a loop is ≥ 3 identical calls”.
IDENTICAL = 3


def find(trace: Trace, account: Account) -> list[Finding]:
    tally = Tally("loop")
    same = f"group by t.run_id, t.name, t.arguments_hash having count(*) >= {IDENTICAL}"
    condition = "t.status = 'success' and t.arguments_hash is not null"
    for run_id in trace.runs_with("tools", condition, same):
        tools = trace.tools_of(run_id)
        asked = Asked(trace.calls_of(run_id), tools)
        for alike in same_tools(tools):
            for round_ in _loops(alike):
                needless = [
                    call for call in asked.only_for(round_[IDENTICAL - 1 :]) if not account.is_gone(call)
                ]
                for call in needless[:1]:
                    title = f"{call.who}: {round_[0].name} called again and again with the same arguments and result ({{times}} loops)"
                    tally.add((call.who, round_[0].name), title, map(account.whole, needless))
    return tally.findings()


def _loops(alike: list[ToolUse]) -> list[list[ToolUse]]:
    """Of calls with the same arguments those with the same result."""
    of_result: dict[object, list[ToolUse]] = defaultdict(list)
    for tool in alike:
        if tool.status == "success" and tool.arguments_hash is not None:
            of_result[tool.result, tool.result_bytes].append(tool)
    return [same for same in of_result.values() if len(same) >= IDENTICAL]
