"""What recorded runs would have cost otherwise, without running anything.

    from tokentrace_core.analysis.what_if import CachePrefix, RetryCap, what_if
    found = what_if("traces.db", [RetryCap(2), CachePrefix()])
    found.together.saved_nano_usd

Each change is tried alone, all of them together, and each two of them: changes interact (a call that is not made cannot be
cached), so what they save together is not the sum. What was paid is the record's; what would have been paid are whole numbers at the
recorded calls' own rates. How many tokens a message has is an estimate.
"""

from tokentrace_core.analysis.what_if.changes import (
    USUAL,
    CachePrefix,
    Change,
    Model,
    NoPreamble,
    RetryCap,
    TruncateResults,
)
from tokentrace_core.analysis.what_if.result import Overlap, Saving, WhatIf, what_if

__all__ = [
    "USUAL",
    "CachePrefix",
    "Change",
    "Model",
    "NoPreamble",
    "Overlap",
    "RetryCap",
    "Saving",
    "TruncateResults",
    "WhatIf",
    "what_if",
]
