"""Fan-out duplication: the same payload sent in full to several sub-agents that work side by side.

Side by side are siblings under one parent: agents of the same run, whether its own loops, nested runs or spawned by tool calls, and
runs of one session whose calls overlap in time. A payload is a message, or a prefix, of 1,024 tokens or more. The first sub-agent has to
send it; each further one should have read it from the cache (`sent_again`).
"""

from __future__ import annotations

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.findings import Cause, Title, plain


def are_siblings(earlier: Call, call: Call) -> bool:
    """Whether two calls are of agents that work side by side."""
    if earlier.run.id == call.run.id:
        return earlier.talk != call.talk or _overlap(earlier, call)
    return earlier.run.session_id == call.run.session_id and _overlap(earlier, call)


def cause(call: Call) -> Cause:
    """What tells the finding apart."""
    return (call.run.name,)


def title(call: Call) -> Title:
    return Title(
        f"{plain(call.run.name)}: the same payload sent in full to parallel sub-agents ({{times}} in all)"
    )


def _overlap(earlier: Call, call: Call) -> bool:
    ended, ends = earlier.ended_at or earlier.started_at, call.ended_at or call.started_at
    return earlier.started_at < ends and call.started_at < ended
