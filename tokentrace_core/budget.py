"""The limits a user sets: what they are, and for whom. How they hold is `account`'s matter.

All limits of a budget hold at once, and a call that would cross any of them is refused before it is sent. "Crosses"
means: what is used, with what is set aside for calls in flight, has reached the limit, or what the call takes at
the very least no longer fits under it.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.forecast import OnUnpriced
from tokentrace_core.ledger import Share
from tokentrace_core.pricing import NANO
from tokentrace_core.spans import LLMCall, Run, Step, ToolCall
from tokentrace_core.tally import Tally

__all__ = ["Budget", "BudgetExceeded"]

OnUnavailable = Literal["block", "allow"]

#: Limits in dollars, the narrowest first.
_DOLLARS = ("run_usd", "session_usd", "user_day_usd", "project_month_usd")
_COUNTS = {"steps": "steps", "tokens": "tokens", "max_repeats": "calls", "reply_tokens": "tokens"}


class Budget:
    """Limits. A call that would cross one is refused before it is sent.

    Of one run: `run_usd` (dollars), `steps` (loop iterations, over all its agents), `tokens` (in and out),
    `max_repeats` (calls of one tool with the same arguments). Shared, also between processes that write to one file:
    `session_usd`, `user_day_usd` (a UTC day; runs without a user count as one user), `project_month_usd` (a UTC month;
    without a project: the file's).

    `warn_at`: the part of any limit at which `budget_warning` is sent, once. `near_last_month`: the part of the
    project's tokens of last month at which it is sent in this month, once. `reply_tokens`: how long a first reply
    is taken to be at least; by default only what is sure refuses a call, and of a first reply nothing is.
    `on_unpriced`: what a limit in dollars does with a model without a price: "assume" its provider's dearest (15 $ and
    75 $ per million tokens if the provider is unknown, too), "block" it, or "allow" it unseen. `on_unavailable`: what a
    shared limit does while the file cannot be written: "block" calls, or "allow" them and count them later.
    """

    run_usd: Decimal | None
    session_usd: Decimal | None
    user_day_usd: Decimal | None
    project_month_usd: Decimal | None
    steps: int | None
    tokens: int | None
    max_repeats: int | None
    reply_tokens: int | None

    def __init__(
        self,
        run_usd: Decimal | float | str | None = None,
        *,
        session_usd: Decimal | float | str | None = None,
        user_day_usd: Decimal | float | str | None = None,
        project_month_usd: Decimal | float | str | None = None,
        steps: int | None = None,
        tokens: int | None = None,
        max_repeats: int | None = None,
        reply_tokens: int | None = None,
        warn_at: float = 0.7,
        near_last_month: float | None = None,
        on_unpriced: OnUnpriced = "assume",
        on_unavailable: OnUnavailable = "block",
    ) -> None:
        given = locals()
        for name in _DOLLARS:
            setattr(self, name, _dollars(name, given[name]))
        for name, unit in _COUNTS.items():
            setattr(self, name, _count(name, given[name], unit))
        if not 0 < warn_at <= 1:
            raise ValueError(f"Budget(warn_at={warn_at!r}): a share of the limit lies between 0 and 1")
        self.warn_at = warn_at
        if near_last_month is not None and not near_last_month > 0:
            raise ValueError(
                f"Budget(near_last_month={near_last_month!r}): a part of last month's tokens, like 0.8"
            )
        self.near_last_month = near_last_month
        self.on_unpriced: OnUnpriced = _one_of("on_unpriced", on_unpriced, get_args(OnUnpriced))
        self.on_unavailable: OnUnavailable = _one_of(
            "on_unavailable", on_unavailable, get_args(OnUnavailable)
        )
        self.run_nano = None if self.run_usd is None else int(self.run_usd * NANO)
        self._tally = Tally(self.run_usd, self.steps, self.tokens)

    def __repr__(self) -> str:
        names = (*_DOLLARS, *_COUNTS)
        given = (f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None)
        return f"Budget({', '.join(given)})"

    @property
    def spent(self) -> Decimal:
        """Dollars that were added by hand with `add`. Runs that a tracer records are not in it."""
        return self._tally.spent

    @property
    def remaining(self) -> Decimal | None:
        """What is left of `run_usd` by that; None without this limit."""
        return self._tally.remaining

    def add(self, span: Run | Step | LLMCall | ToolCall) -> None:
        """Count what a span cost. Raises `BudgetExceeded` if that crosses `run_usd`, `steps` or `tokens`."""
        self._tally.add(span)

    def check(self) -> None:
        """Raise `BudgetExceeded` if nothing is left of `run_usd`, `steps` or `tokens`: ask before the next call."""
        self._tally.check()

    @property
    def first_in_dollars(self) -> str | None:
        """The narrowest limit in dollars."""
        return next((name for name in _DOLLARS if getattr(self, name) is not None), None)

    @property
    def is_shared(self) -> bool:
        """Whether any limit outlives a run."""
        return any(getattr(self, name) is not None for name in _DOLLARS[1:])

    def limit_of(self, scope: str) -> Any:
        """The limit of this name."""
        return getattr(self, scope)

    def shares(self, run: Run, at: datetime) -> tuple[Share, ...]:
        """The shared limits that a call of this run counts against at this time."""
        day, month = at.astimezone(UTC).strftime("%Y-%m-%d"), at.astimezone(UTC).strftime("%Y-%m")
        shares = (
            ("session_usd", run.session_id, ""),
            ("user_day_usd", same_user(run.user_id), day),
            ("project_month_usd", run.project or "", month),
        )
        return tuple(
            Share(scope, subject, period, int(limit * NANO))
            for scope, subject, period in shares
            if (limit := getattr(self, scope)) is not None
        )


def same_user(user: str | None) -> str:
    """Ids that look the same are the same."""
    return unicodedata.normalize("NFC", user or "")


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise ValueError(f"Budget({name}={value!r}): one of {', '.join(map(repr, known))}")
    return value


def _count(name: str, value: Any, unit: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"Budget({name}={value!r}): a number of {unit} is a whole number from 0 up")
    return value


def _dollars(name: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"Budget({name}={value!r}): a limit is an amount of dollars from 0 up")
    return amount
