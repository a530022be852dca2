"""Expensive model on trivial steps: a large model asked, again and again, for a few words about a short text.

A step is trivial if nearly all of its calls (95 of 100) have a short prompt, a reply of a few tokens and no tool in it: sorting, routing, yes or no. What
it would have cost: the same tokens at the price of the provider's small model of the same line (`SMALLER`). Only dollars are wasted, no
tokens. Whether the small model does it as well is for a test to say (`tokentrace` records scores); the finding says what is at stake.
"""

from __future__ import annotations

import re
from functools import partial

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import PROMPT, Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain

#: A model's name, without its date -> the small one of its line. What is small itself is not in it.
SMALLER = {
    "gpt-4o": "gpt-4o-mini",
    "gpt-4.1": "gpt-4.1-mini",
    "gpt-4-turbo": "gpt-4o-mini",
    "gpt-4": "gpt-4o-mini",
    "gpt-5": "gpt-5-mini",
    "gpt-5.1": "gpt-5-mini",
    "gpt-5.2": "gpt-5-mini",
    "o1": "o4-mini",
    "o3": "o4-mini",
    "claude-3-opus": "claude-haiku-4-5",
    "claude-3-5-sonnet": "claude-haiku-4-5",
    "claude-3-7-sonnet": "claude-haiku-4-5",
    "claude-sonnet-4": "claude-haiku-4-5",
    "claude-sonnet-4-5": "claude-haiku-4-5",
    "claude-opus-4": "claude-haiku-4-5",
    "claude-opus-4-1": "claude-haiku-4-5",
    "claude-opus-4-5": "claude-haiku-4-5",
    "gemini-1.5-pro": "gemini-2.5-flash",
    "gemini-2.5-pro": "gemini-2.5-flash",
    "mistral-large": "mistral-small-latest",
}
#: A word or two, or a short JSON object.
FEW_TOKENS = 32
SHORT_PROMPT = 2_000
NEARLY_ALL = 0.95
LEAST_CALLS = 20
_DATE = re.compile(r"[-@](20\d{6}|20\d\d-\d\d-\d\d|latest)$")


def find(trace: Trace, account: Account) -> list[Finding]:
    tally = Tally("expensive_model")
    for agent, step, model, answered in _trivial(trace):
        smaller = SMALLER.get(_DATE.sub("", (model or answered or "").lower().rpartition("/")[2]))
        if smaller is None:
            continue
        named = plain(step or "without a name")
        title = f"{plain(agent)}: {plain(model)} for a few words in step {named}, where {smaller} may do ({{calls}} calls)"
        same = "coalesce(s.agent, r.name) = :who and s.name is :step and c.model is :model"
        for call in trace.calls(same, who=agent, step=step, model=model):
            other = account.rates.another(smaller, call)
            if other is not None:
                tally.add(
                    call,
                    (agent, step or "", model or ""),
                    partial(str, title),
                    [account.rest(call, other)],
                )
    return tally.findings()


def _trivial(trace: Trace) -> list[tuple[str, str | None, str | None, str | None]]:
    """(agent, step name, model, model answered) of trivial steps."""
    selection = trace.scope.calls()
    spoken = "coalesce(c.output_tokens, 0) - coalesce(c.reasoning_tokens, 0)"
    trivial = f"""{spoken} between 1 and {FEW_TOKENS} and {PROMPT} <= {SHORT_PROMPT}
        and coalesce(c.stop_reason, '') not in ('tool_calls', 'tool_use', 'function_call', 'length', 'max_tokens')"""
    found = trace.rows(
        f"""select coalesce(s.agent, r.name), s.name, c.model, max(c.model_answered) {selection.sql}
            and c.kind = 'chat' and c.status = 'success'
            group by 1, 2, 3 having count(*) >= {LEAST_CALLS} and sum({trivial}) >= {NEARLY_ALL} * count(*)""",
        selection.parameters,
    )
    return [(agent, step, model, answered) for agent, step, model, answered in found]
