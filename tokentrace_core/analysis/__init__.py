"""The reading side: what a trace file says about cost, asked in SQL through `store.reader`.

Every question is about a `Scope`, gives plain values (money in integer nano-dollars) and prints nothing; the command of
the same name in `cli/` prints. The write path never imports this.
"""

from tokentrace_core.analysis.scope import Scope

__all__ = ["Scope"]
