"""One run's spending against its budget: reserve before a call, settle after it.

Checking a sum and then calling lets ten parallel branches all see the same money left. So a call first *reserves*
what it is expected to use; the next one sees what is spent plus what is reserved. When a call does not fit,
`BudgetExceeded` is raised before anything is sent, and from then on the run is stopped: every further call in it is
refused, because code that swallows the exception must not get a second chance. Only a call that would have fitted but
for those in flight does not stop the run: what they do not use of what is set aside is still there.

Limits of the run itself are kept here, in memory. Limits that others share are claimed from the ledger, after those:
that takes a transaction, during which no other run may be held up, so it is a second move (`claim`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from tokentrace_core.budget import Budget
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.forecast import Amount, Forecast, Request
from tokentrace_core.ledger import Hold, Ledger, Share, Standing, Unavailable
from tokentrace_core.payload import canonical_json, content_id
from tokentrace_core.pricing import PriceBook, show_usd, to_usd
from tokentrace_core.spans import Run
from tokentrace_core.usage import Usage

_NOT_SENT = "The call was not sent."


class Reservation(Struct):
    """What is set aside for one call in flight."""

    model: str | None
    provider: str | None
    sure_nano: int
    """What it costs at the very least."""
    amount: Amount
    """What it will probably use."""
    hold: Hold | None = None
    """What is set aside in the ledger."""
    unasked: tuple[Share, ...] = ()
    """Shared limits that could not be asked: they hear of it when it is over."""


class Account:
    """Not locked, but for `claim`: the recorder calls it under its own lock."""

    def __init__(self, budget: Budget, prices: PriceBook, ledger: Ledger | None) -> None:
        self._budget = budget
        self._ledger = ledger
        self._forecast = Forecast(prices, budget.on_unpriced, budget.reply_tokens)
        self._spent = Amount(0, 0)
        self._reserved = Amount(0, 0)
        self.steps_ahead = 0
        """Steps that calls which are being claimed will open."""
        self._repeats: Counter[str] = Counter()
        self._shared: dict[str, float] = {}
        """Of each shared limit, what part was used when it was last asked."""
        self._warned: set[str] = set()
        self.stopped: BudgetExceeded | None = None
        """The refusal that stopped this run, if one did."""

    # ── a call ───────────────────────────────────────────────────────────────────────────────────────

    def reserve(self, request: Request) -> Reservation:
        """Set aside what a call will use. Raises `BudgetExceeded` if it does not fit; nothing is set aside then."""
        if self.stopped is not None:
            raise self.stopped.again()
        sure = self._forecast.sure(request)
        refusal = next((refused for refused in self._refusals(request, sure) if refused), None)
        if refusal is not None:
            raise self.stop(refusal)
        return self._set_aside(
            Reservation(request.model, request.provider, sure.nano_usd, self._forecast.expected(request))
        )

    def reserve_amount(self, nano_usd: int) -> Reservation:
        """The same for an amount that is known."""
        if self.stopped is not None:
            raise self.stopped.again()
        if (refusal := self._money_refusal(nano_usd)) is not None:
            raise self.stop(refusal)
        return self._set_aside(Reservation(None, None, nano_usd, Amount(nano_usd, 0)))

    def _set_aside(self, reservation: Reservation) -> Reservation:
        self._reserved = _plus(self._reserved, reservation.amount)
        return reservation

    @property
    def is_shared(self) -> bool:
        """Whether a call has to be claimed from the ledger, too."""
        return self._ledger is not None and self._budget.is_shared

    def claim(self, run: Run, reservation: Reservation) -> BudgetExceeded | None:
        """Have it in the ledger, too. The refusal, if a limit there says no. Not to be called under a lock."""
        shares = self._budget.shares(run, _now())
        if self._ledger is None or not shares:
            return None
        sure = reservation.sure_nano
        try:
            hold, standings = self._ledger.reserve(shares, sure, reservation.amount.nano_usd)
        except Unavailable as error:
            reservation.unasked = shares
            return self._while_unavailable(shares[0], error)
        self._shared = {standing.share.scope: _part(standing) for standing in standings}
        if hold is not None:
            reservation.hold = hold
            return None
        full = next(standing for standing in standings if not _fits(standing, sure))
        return _shared_refusal(full, sure)

    def stop(self, refusal: BudgetExceeded) -> BudgetExceeded:
        """From here on every call of the run is refused; unless this one was in favour of calls in flight."""
        if not refusal.for_now:
            self.stopped = self.stopped or refusal
        return refusal

    def settle(self, reservation: Reservation, usage: Usage | None, nano_usd: int | None) -> None:
        """The call is over: what it really used and cost replaces the guess. None: no price is known."""
        spent = nano_usd or 0
        if usage is not None:
            self._forecast.learn(reservation.model, usage)
            if nano_usd is None:
                spent = self._forecast.assumed_nano(reservation.provider, usage)
        self._end(reservation, Amount(spent, usage.total_tokens if usage is not None else 0))

    def settle_amount(self, reservation: Reservation, nano_usd: int) -> None:
        """The same for an amount that was set aside as such."""
        self._end(reservation, Amount(nano_usd, 0))

    def release(self, reservation: Reservation) -> None:
        """The call was not made, or cost nothing."""
        self._end(reservation, Amount(0, 0))

    def spend(self, run: Run, nano_usd: int) -> None:
        """Add what was not set aside: a tool that charges."""
        self._spent = _plus(self._spent, Amount(nano_usd, 0))
        shares = self._budget.shares(run, _now())
        if self._ledger is not None and shares and nano_usd:
            self._ledger.spend(shares, nano_usd)

    def take_over(self, nano_usd: int, tokens: int) -> None:
        """Go on with a run that has used this elsewhere; shared limits know of it."""
        self._spent = _plus(self._spent, Amount(nano_usd, tokens))

    def _end(self, reservation: Reservation, used: Amount) -> None:
        self._reserved = _minus(self._reserved, reservation.amount)
        self._spent = _plus(self._spent, used)
        reservation.amount = Amount(0, 0)
        if self._ledger is None:
            return
        if reservation.hold is not None:
            self._ledger.settle(reservation.hold, used.nano_usd)
        elif reservation.unasked and used.nano_usd:
            self._ledger.spend(reservation.unasked, used.nano_usd)
        reservation.hold, reservation.unasked = None, ()

    # ── loops ────────────────────────────────────────────────────────────────────────────────────────

    def note_tool(self, name: str, arguments: Any) -> None:
        """A tool is called. The same with the same arguments too often is a loop: the next model call is refused."""
        limit = self._budget.max_repeats
        if limit is None:
            return
        call = content_id(f"{name} {canonical_json(arguments)}")
        self._repeats[call] += 1
        if (times := self._repeats[call]) > limit and self.stopped is None:
            self.stopped = BudgetExceeded(
                f"budget exceeded: tool {name!r} was called {times} times with the same arguments, limit {limit}: "
                f"the agent goes in circles. {_NOT_SENT} Raise Budget(max_repeats=...) if that is meant.",
                scope="max_repeats",
                spent=times,
                limit=limit,
            )

    # ── how it stands ────────────────────────────────────────────────────────────────────────────────

    @property
    def spent_nano(self) -> int:
        return self._spent.nano_usd

    def pressure(self, steps: int) -> float:
        """The part used of the limit that is nearest; 0 without limits, 1 and more: nothing is left."""
        return max(self._parts(steps).values(), default=0.0)

    def new_warnings(self, steps: int) -> list[tuple[str, float]]:
        """Limits that have come near since the last call: their scope and the part used. `steps` taken so far."""
        due = [(scope, part) for scope, part in self._parts(steps).items() if part >= self._budget.warn_at]
        fresh = [(scope, part) for scope, part in due if scope not in self._warned]
        self._warned.update(scope for scope, _ in fresh)
        return fresh

    def _parts(self, steps: int) -> dict[str, float]:
        budget = self._budget
        used = (
            ("run_usd", self._spent.nano_usd, budget.run_nano),
            ("tokens", self._spent.tokens, budget.tokens),
            ("steps", steps, budget.steps),
        )
        return {scope: amount / limit for scope, amount, limit in used if limit} | self._shared

    # ── refusals ─────────────────────────────────────────────────────────────────────────────────────

    def _refusals(self, request: Request, sure: Amount) -> Iterator[BudgetExceeded | None]:
        yield self._step_refusal(request)
        yield self._unpriced_refusal(request)
        yield self._token_refusal(sure.tokens)
        yield self._money_refusal(sure.nano_usd)

    def _step_refusal(self, request: Request) -> BudgetExceeded | None:
        limit, taken = self._budget.steps, request.steps - 1
        if limit is None or request.steps <= limit:
            return None
        return BudgetExceeded(
            f"budget exceeded: step limit reached, {taken} of {limit} steps taken. "
            f"{_NOT_SENT} Raise Budget(steps=...) if the run needs more.",
            scope="steps",
            spent=taken,
            limit=limit,
        )

    def _unpriced_refusal(self, request: Request) -> BudgetExceeded | None:
        scope = self._budget.first_in_dollars
        if scope is None or self._budget.on_unpriced != "block" or self._forecast.knows_price(request):
            return None
        limit = self._budget.limit_of(scope)
        return BudgetExceeded(
            f"budget exceeded: spent {show_usd(self._spent.nano_usd)} of ${limit}; model {request.model!r} has no price "
            f"and on_unpriced='block'. {_NOT_SENT} Give it one with PriceBook({{{request.model!r}: ModelPrice(...)}}).",
            scope=scope,
            spent=to_usd(self._spent.nano_usd),
            limit=limit,
        )

    def _token_refusal(self, sure: int) -> BudgetExceeded | None:
        limit, used = self._budget.tokens, self._spent.tokens + self._reserved.tokens
        if limit is None or (used < limit and used + sure <= limit):
            return None
        why = "nothing is left" if used >= limit else f"the call takes {sure:,} at least"
        refusal = BudgetExceeded(
            f"budget exceeded: {self._spent.tokens:,} of {limit:,} tokens used; {why}. "
            f"{_NOT_SENT} Raise Budget(tokens=...) if the run needs more.",
            scope="tokens",
            spent=self._spent.tokens,
            limit=limit,
        )
        refusal.for_now = self._spent.tokens < limit >= self._spent.tokens + sure
        return refusal

    def _money_refusal(self, sure: int) -> BudgetExceeded | None:
        limit = self._budget.run_nano
        if limit is None:
            return None
        here = Standing(Share("run_usd", "", "", limit), self._spent.nano_usd, self._reserved.nano_usd)
        return None if _fits(here, sure) else _dollar_refusal(here, sure, "if the run needs more")

    def _while_unavailable(self, share: Share, error: Unavailable) -> BudgetExceeded | None:
        if self._budget.on_unavailable == "allow":
            return None
        return BudgetExceeded(
            f"budget exceeded: the ledger of {share.scope} cannot be asked ({error}), and on_unavailable='block'. "
            f"{_NOT_SENT} Budget(on_unavailable='allow') goes on without it.",
            scope=share.scope,
            spent=to_usd(self._spent.nano_usd),
            limit=to_usd(share.limit_nano),
        )


def _fits(standing: Standing, sure: int) -> bool:
    limit = standing.share.limit_nano
    return standing.used < limit and standing.used + sure <= limit


def _part(standing: Standing) -> float:
    limit = standing.share.limit_nano
    return standing.used / limit if limit else 1.0


def _shared_refusal(standing: Standing, sure: int) -> BudgetExceeded:
    share = standing.share
    whose = {"user_day_usd": f"user {share.subject!r} on {share.period} (UTC)"}.get(
        share.scope, " ".join(filter(None, (share.scope.split("_")[0], repr(share.subject), share.period)))
    )
    return _dollar_refusal(standing, sure, f"for {whose}, if that is meant")


def _dollar_refusal(standing: Standing, sure: int, when: str) -> BudgetExceeded:
    (scope, _, _, limit), spent, reserved = standing.share, standing.spent, standing.reserved
    left = limit - standing.used
    why = (
        "nothing is left"
        if left <= 0
        else f"estimated cost {show_usd(sure)} would exceed remaining budget {show_usd(left)}"
    )
    in_flight = f" (and {show_usd(reserved)} in flight)" if reserved else ""
    refusal = BudgetExceeded(
        f"budget exceeded: spent {show_usd(spent)}{in_flight} of {show_usd(limit)}; {why}. "
        f"{_NOT_SENT} Raise Budget({scope}=...) {when}.",
        scope=scope,
        spent=to_usd(spent),
        limit=to_usd(limit),
    )
    refusal.for_now = _fits(standing._replace(reserved=0), sure)
    return refusal


def _plus(one: Amount, other: Amount) -> Amount:
    return Amount(one.nano_usd + other.nano_usd, one.tokens + other.tokens)


def _minus(one: Amount, other: Amount) -> Amount:
    return Amount(one.nano_usd - other.nano_usd, one.tokens - other.tokens)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
