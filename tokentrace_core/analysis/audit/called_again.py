"""What was called again although the answer could be known: retry storms and loops, in one look at the runs that have either."""

from __future__ import annotations

from tokentrace_core.analysis.audit import loop, retry_storm
from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.attempts import Asked
from tokentrace_core.analysis.audit.calls import Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally

_TOOLS = f"""group by t.run_id, t.name, t.arguments_hash
    having sum(t.status in ('failure', 'timeout')) >= {retry_storm.ATTEMPTS}
        or sum(t.status = 'success' and t.arguments_hash is not null) >= {loop.IDENTICAL}"""
_CALLS = f"group by c.run_id, c.prompt_id having count(*) >= {retry_storm.ATTEMPTS}"


def find(trace: Trace, account: Account) -> list[Finding]:
    storms, loops = Tally("retry_storm"), Tally("loop")
    failed = "c.status in ('failure', 'timeout') and c.prompt_id is not null"
    runs = {*trace.runs_with("tools", "true", _TOOLS), *trace.runs_with("calls", failed, _CALLS)}
    for calls, tools in trace.runs(sorted(runs)):
        asked = Asked(calls, tools)
        retry_storm.look(calls, tools, asked, account, storms)
        loop.look(tools, asked, account, loops)
    return storms.findings() + loops.findings()
