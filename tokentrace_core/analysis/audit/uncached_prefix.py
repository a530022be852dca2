"""Prefix sent without caching: a history or system prompt of 1,024 tokens or more is resent in full though the model could cache it.

Resending it is how models work; paying the full price for it is not. With a provider that caches by itself this should not happen while the
prefix stays the same, so there it is said as a cache that is missed (`sent_again`).
"""

from __future__ import annotations

from tokentrace_core.analysis.audit.caching import rule_of
from tokentrace_core.analysis.audit.calls import Call


def cause(call: Call) -> tuple[tuple[str, ...], str]:
    """What tells the finding apart, and its title."""
    model = call.answered or call.model or ""
    how = "missed the provider's cache" if rule_of(model).automatic else "was sent without caching"
    return (
        call.who,
        call.run_name,
        model,
    ), f"{call.who}: a prefix already sent to {model} {how} in {{times}} calls"
