"""Limits that hold: reserve before a call, settle after it.

Checking a sum and then calling lets ten parallel branches all see the same money left. So a call first
*reserves* what it is expected to cost; the next one sees what is spent plus what is reserved. When a call
does not fit, `BudgetExceeded` is raised before anything is sent, and from then on the run is stopped: every
further call in it is refused, because code that swallows the exception must not get a second chance.

What a call will cost is a guess, and it is used twice with different care. To *refuse* a call, only what is
sure counts: its prompt (as if all that was sent before came from the cache) and the shortest reply this run
has seen. To *reserve* for it, the full prompt and a usual reply count. So a limit is never exceeded by more
than the guess about the calls in flight is wrong.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from msgspec import Struct

from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.pricing import (
    EXPECTED_REPLY_TOKENS,
    NANO,
    ModelPrice,
    PriceBook,
    estimate_tokens,
    show_usd,
    to_nano,
    to_usd,
)
from tokentrace_core.shield import log_once
from tokentrace_core.usage import Usage

__all__ = ["Account", "Budget", "BudgetExceeded", "Request", "Reservation"]

OnUnpriced = Literal["assume", "block", "allow"]

#: Hardly any text has fewer tokens than this many bytes each.
_MOST_BYTES_PER_TOKEN = 6

#: What a budget assumes of a model that no price list knows, dearer than most. Never recorded as a cost.
ASSUMED_PRICE = ModelPrice(input=15, output=75)


class Budget:
    """Limits for each run. A call that would cross one is refused before it is sent.

    `run_usd`: dollars per run. `steps`: loop iterations per run, over all its agents. `warn_at`: the share of
    any limit at which `budget_warning` is sent, once. `on_unpriced`: what a dollar limit does with a model
    without a price: "assume" a high one (15 $ and 75 $ per million tokens), "block" it, or "allow" it unseen.
    """

    def __init__(
        self,
        run_usd: Decimal | float | str | None = None,
        *,
        steps: int | None = None,
        warn_at: float = 0.7,
        on_unpriced: OnUnpriced = "assume",
    ) -> None:
        self.run_usd = None if run_usd is None else _dollars("run_usd", run_usd)
        if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or steps < 0):
            raise ValueError(f"Budget(steps={steps!r}): a number of steps is a whole number from 0 up")
        self.steps = steps
        if not 0 < warn_at <= 1:
            raise ValueError(f"Budget(warn_at={warn_at!r}): a share of the limit lies between 0 and 1")
        self.warn_at = warn_at
        if on_unpriced not in ("assume", "block", "allow"):
            raise ValueError(f"Budget(on_unpriced={on_unpriced!r}): one of 'assume', 'block', 'allow'")
        self.on_unpriced: OnUnpriced = on_unpriced

    def __repr__(self) -> str:
        return f"Budget(run_usd={self.run_usd}, steps={self.steps})"


class Request(NamedTuple):
    """What is known of a call before it is sent."""

    model: str | None
    provider: str | None
    sent_tokens: int
    """Prompt tokens that this agent has sent before: what a provider's cache may hold."""
    new_bytes: int
    """UTF-8 bytes of what it has not sent before."""
    max_tokens: int | None
    steps: int
    """Steps the run will have with this call."""


class Reservation(Struct):
    """Money set aside for one call in flight."""

    request: Request
    nano_usd: int


class _Rates(NamedTuple):
    """Nano-dollars per token, for estimates only: without tiers."""

    input: float
    cache_read: float
    output: float


class _Replies(Struct):
    """How long this run's replies from one model have been, in tokens."""

    count: int = 0
    total: int = 0
    shortest: int = 0

    def add(self, tokens: int) -> None:
        self.shortest = min(self.shortest, tokens) if self.count else tokens
        self.count += 1
        self.total += tokens


class Account:
    """One run's spending against its budget. Not locked: the recorder calls it under its own lock."""

    def __init__(self, budget: Budget, prices: PriceBook) -> None:
        self._budget = budget
        self._prices = prices
        self._spent = 0
        self._reserved = 0
        self._warned: set[str] = set()
        self._replies: dict[str | None, _Replies] = {}
        self._rates: dict[tuple[str | None, str | None], _Rates | None] = {}
        self.stopped: BudgetExceeded | None = None
        """The refusal that stopped this run, if one did."""

    def reserve(self, request: Request) -> Reservation:
        """Set money aside for a call. Raises `BudgetExceeded` if it does not fit; nothing is reserved then."""
        if self.stopped is not None:
            raise self.stopped.again()
        refusal = self._step_refusal(request) or self._money_refusal(request)
        if refusal is not None:
            self.stopped = refusal
            raise refusal
        reservation = Reservation(request, self._expected(request))
        self._reserved += reservation.nano_usd
        return reservation

    def settle(self, reservation: Reservation, usage: Usage | None, nano_usd: int | None) -> None:
        """The call is over: what it really used and cost replaces the guess. None: no price is known."""
        self.release(reservation)
        if usage is not None:
            self._replies.setdefault(reservation.request.model, _Replies()).add(usage.output_tokens)
            if nano_usd is None and self._budget.on_unpriced == "assume":
                nano_usd = to_nano(ASSUMED_PRICE.dollars(usage))
        self._spent += nano_usd or 0

    def release(self, reservation: Reservation) -> None:
        """The call was not made, or cost nothing."""
        self._reserved -= reservation.nano_usd
        reservation.nano_usd = 0

    def spend(self, nano_usd: int) -> None:
        """Add what was not reserved: a tool that charges, or what a resumed run spent elsewhere."""
        self._spent += nano_usd

    def new_warnings(self, steps: int) -> list[tuple[str, float]]:
        """Limits that have come near since the last call: their scope and the share used. `steps` taken so far."""
        shares = {
            "run_usd": self._spent / self._limit if self._limit else 0.0,
            "steps": steps / self._budget.steps if self._budget.steps else 0.0,
        }
        due = [(scope, share) for scope, share in shares.items() if share >= self._budget.warn_at]
        fresh = [(scope, share) for scope, share in due if scope not in self._warned]
        self._warned.update(scope for scope, _ in fresh)
        return fresh

    @property
    def _limit(self) -> int | None:
        limit = self._budget.run_usd
        return None if limit is None else int(limit * NANO)

    def _step_refusal(self, request: Request) -> BudgetExceeded | None:
        limit, taken = self._budget.steps, request.steps - 1
        if limit is None or request.steps <= limit:
            return None
        return BudgetExceeded(
            f"budget exceeded: step limit reached, {taken} of {limit} steps taken. "
            "The call was not sent. Raise Budget(steps=...) if the run needs more.",
            scope="steps",
            spent=taken,
            limit=limit,
        )

    def _money_refusal(self, request: Request) -> BudgetExceeded | None:
        limit = self._limit
        if limit is None:
            return None
        rates = self._rates_of(request)
        if rates is None and self._budget.on_unpriced == "block":
            return self._refusal(limit, f"model {request.model!r} has no price and on_unpriced='block'")
        committed = self._spent + self._reserved
        if committed >= limit:
            return self._refusal(limit, "nothing is left")
        sure = self._sure(request, rates)
        if committed + sure > limit:
            left = show_usd(limit - committed)
            return self._refusal(
                limit, f"estimated cost {show_usd(sure)} would exceed remaining budget {left}"
            )
        return None

    def _refusal(self, limit: int, why: str) -> BudgetExceeded:
        in_flight = f" (and {show_usd(self._reserved)} in flight)" if self._reserved else ""
        return BudgetExceeded(
            f"budget exceeded: spent {show_usd(self._spent)}{in_flight} of {show_usd(limit)}; {why}. "
            "The call was not sent. Raise Budget(run_usd=...) if the run needs more.",
            scope="run_usd",
            spent=to_usd(self._spent),
            limit=to_usd(limit),
        )

    def _sure(self, request: Request, rates: _Rates | None) -> int:
        """What the call costs at the very least, by what this run has shown so far."""
        if rates is None:
            return 0
        new = request.new_bytes / _MOST_BYTES_PER_TOKEN
        shortest = self._replies.get(request.model, _Replies()).shortest
        return int(new * rates.input + request.sent_tokens * rates.cache_read + shortest * rates.output)

    def _expected(self, request: Request) -> int:
        """What the call will probably cost."""
        rates = self._rates_of(request)
        if rates is None:
            return 0
        replies = self._replies.get(request.model, _Replies())
        if replies.count:
            reply = replies.total / replies.count
        else:
            reply = min(EXPECTED_REPLY_TOKENS, request.max_tokens or EXPECTED_REPLY_TOKENS)
        prompt = request.sent_tokens + estimate_tokens(request.new_bytes)
        return int(prompt * rates.input + reply * rates.output)

    def _rates_of(self, request: Request) -> _Rates | None:
        """Rates of the model; the assumed ones, or None, if it has no price."""
        key = (request.model, request.provider)
        if key not in self._rates:
            self._rates[key] = self._look_up(request)
        return self._rates[key]

    def _price(self, request: Request, probe: Usage) -> int | None:
        try:
            return self._prices.price(request.model, probe, provider=request.provider).nano_usd
        except Exception as error:
            log_once("a call could not be priced", error)
            return None

    def _look_up(self, request: Request) -> _Rates | None:
        probes = (
            Usage(input_uncached_tokens=1_000),
            Usage(cache_read_tokens=1_000),
            Usage(output_tokens=1_000),
        )
        amounts = [self._price(request, probe) for probe in probes]
        if None in amounts:
            if self._budget.on_unpriced != "assume":
                return None
            amounts = [to_nano(ASSUMED_PRICE.dollars(probe)) for probe in probes]
        return _Rates(*((amount or 0) / 1_000 for amount in amounts))


def _dollars(name: str, value: Decimal | float | str) -> Decimal:
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"Budget({name}={value!r}): a limit is an amount of dollars from 0 up")
    return amount
