"""Where the money went that need not have: the waste audit.

    found = audit("traces.db")
    for finding in found.findings: print(finding.title, finding.wasted_nano_usd)

Each kind of waste is a module, which defines it. All claim what they found from one account (`account`), so that no dollar is counted
twice, and the findings of a call never exceed its cost.
"""

from tokentrace_core.analysis.audit.findings import Finding
from tokentrace_core.analysis.audit.report import KINDS, Audit, audit
from tokentrace_core.analysis.audit.saved import Answer, ask, saved_queries
from tokentrace_core.analysis.audit.weekly import Change, Weeks, weekly

__all__ = [
    "KINDS",
    "Answer",
    "Audit",
    "Change",
    "Finding",
    "Weeks",
    "ask",
    "audit",
    "saved_queries",
    "weekly",
]
