"""A budget kept by hand, for code that adds its spans up itself.

A budget that a tracer has is kept by the tracer, per run and per share. The tally is for loops that have neither: add
what was spent, ask what is left, stop where it says so.
"""

from __future__ import annotations

import threading
from decimal import Decimal

from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.pricing import to_usd
from tokentrace_core.spans import LLMCall, Run, Step, ToolCall


class Tally:
    """What was added so far. Safe to share between threads."""

    def __init__(self, run_usd: Decimal | None, steps: int | None, tokens: int | None) -> None:
        self._limits = run_usd, steps, tokens
        self._lock = threading.Lock()
        self._nano = self._steps = self._tokens = 0

    @property
    def spent(self) -> Decimal:
        return to_usd(self._nano)

    @property
    def remaining(self) -> Decimal | None:
        run_usd, _, _ = self._limits
        return None if run_usd is None else max(run_usd - self.spent, Decimal(0))

    def add(self, span: Run | Step | LLMCall | ToolCall) -> None:
        with self._lock:
            self._steps += isinstance(span, Step)
            if isinstance(span, Run):
                self._steps += span.steps
                self._tokens += span.input_tokens + span.output_tokens
            if isinstance(span, LLMCall):
                self._tokens += span.total_tokens
            if not isinstance(span, Step):
                self._nano += span.cost_nano_usd or 0
        self._refuse(reached=False)

    def check(self) -> None:
        self._refuse(reached=True)

    def _refuse(self, *, reached: bool) -> None:
        """Raise for the first limit that is crossed; with `reached`, for one that leaves nothing, too."""
        run_usd, steps, tokens = self._limits
        used = (
            ("run_usd", self.spent, run_usd),
            ("steps", self._steps, steps),
            ("tokens", self._tokens, tokens),
        )
        for scope, spent, limit in used:
            if limit is not None and (spent > limit or (reached and spent == limit)):
                unit = "$" if scope == "run_usd" else ""
                raise BudgetExceeded(
                    f"budget exceeded at step {self._steps}: spent {unit}{spent:f} of {unit}{limit:f} ({scope}).",
                    scope=scope,
                    spent=spent,
                    limit=limit,
                )
