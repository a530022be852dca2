"""What each token of a recorded call cost, by the prices it was recorded with.

The recorded cost is the fact. The price book at hand gives the rates of the call's model on its day; if they make another sum than
the recorded one (it was negotiated, repriced, or rests on prices that this book does not have), they are scaled to it, so that
a part of a call is the same part of its recorded cost.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tokentrace_core.analysis.audit.calls import Call
from tokentrace_core.analysis.audit.tariff import Tariff
from tokentrace_core.pricing import PriceBook
from tokentrace_core.rates import Rates
from tokentrace_core.usage import Usage

#: `Rates` counts in 10⁻²⁴ dollars, a tariff in 10⁻¹².
_PER_PICO = 10**12
_PICO_PER_NANO = 1_000
_DAY_US = 86_400_000_000
#: No provider asks more for a prompt shorter than this.
_LONG = 100_000
_REMEMBERED = 10_000


class CallRates:
    """The tariff of each call, by a price book."""

    def __init__(self, prices: PriceBook) -> None:
        self.prices = prices
        self._known: dict[tuple[object, ...], Tariff | None] = {}

    def of(self, call: Call) -> Tariff | None:
        """None: the call has no price, or one whose parts are not known."""
        if call.tariff is None:
            call.tariff = self._find(call)
        return call.tariff

    def _find(self, call: Call) -> Tariff | None:
        if not call.cost or call.cost_status not in ("priced", "override"):
            return None
        # Long prompts have prices of their own, each from another length on.
        length = call.prompt if call.prompt > _LONG else 0
        key = call.model, call.answered, call.provider, call.tier, call.started_at // _DAY_US, length
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = self._learn(call)
        tariff = self._known[key]
        return None if tariff is None else _scaled(call, tariff)

    def another(self, model: str, call: Call, *, of_any: bool = False) -> Tariff | None:
        """What another model would have charged: of the same provider, or `of_any`."""
        whose = None if of_any else call.provider
        rates = self.prices.rates_of_call(
            model, None, _usage(call), provider=whose, at=_moment(call), tier=call.tier
        )
        return None if rates is None else _tariff(rates)

    def _learn(self, call: Call) -> Tariff | None:
        rates = self.prices.rates_of_call(
            call.model,
            call.answered,
            _usage(call),
            provider=call.provider,
            at=_moment(call),
            tier=call.tier,
        )
        return None if rates is None else _tariff(rates)


def _scaled(call: Call, tariff: Tariff) -> Tariff:
    """The tariff, if it makes the recorded cost; else the same part of it."""
    tokens = (
        call.uncached * tariff[0]
        + call.read * tariff[1]
        + call.write_5m * tariff[2]
        + call.write_1h * tariff[3]
        + call.output * tariff[4]
    )
    recorded = (call.cost or 0) * _PICO_PER_NANO
    if abs(tokens - recorded) <= 2 * _PICO_PER_NANO or not tokens:
        return tariff
    if recorded > tokens:
        return tariff  # what else was charged (sound, searches) is nobody's waste
    return Tariff(*(rate * recorded // tokens for rate in tariff))


def _tariff(rates: Rates) -> Tariff:
    return Tariff(
        *(
            rate // _PER_PICO
            for rate in (rates.uncached, rates.read, rates.write_5m, rates.write_1h, rates.output)
        )
    )


def _usage(call: Call) -> Usage:
    return Usage(
        input_uncached_tokens=call.uncached,
        cache_read_tokens=call.read,
        cache_write_5m_tokens=call.write_5m,
        cache_write_1h_tokens=call.write_1h,
        output_tokens=call.output,
    )


def _moment(call: Call) -> datetime:
    return datetime.fromtimestamp(call.started_at / 1_000_000, UTC)
