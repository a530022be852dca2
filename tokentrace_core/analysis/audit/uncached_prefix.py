"""Prefix sent without caching: a history or system prompt of 1,024 tokens or more is resent in full though the model could cache it.

Resending it is how models work; paying the full price for it is not, where caching has to be asked for (Anthropic's cache_control).
A provider that caches by itself misses now and then, which nobody can mend: that is no finding.
"""

from __future__ import annotations

from tokentrace_core.analysis.audit.caching import rule_of
from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.findings import Cause, Title, plain


def can_be_mended(call: Call) -> bool:
    """Whether the cache has to be asked for."""
    return not rule_of(call.answered or call.model).automatic


def cause(call: Call) -> Cause:
    """What tells the finding apart."""
    return call.who, call.run.name, call.answered or call.model or ""


def title(call: Call) -> Title:
    model = plain(call.answered or call.model)
    return Title(
        f"{plain(call.who)}: a prefix already sent to {model} was sent again without caching in {{times}} calls"
    )
