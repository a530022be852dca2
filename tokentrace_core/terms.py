"""On whose terms a model is used: your own price, the list's, free, or nobody's. Each prices a usage in microseconds."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from tokentrace_core.money import to_usd
from tokentrace_core.own_prices import Discount, ModelPrice, in_force
from tokentrace_core.price_list import Listed
from tokentrace_core.rates import Rates, pick
from tokentrace_core.spans import CostStatus
from tokentrace_core.usage import Usage


class Priced(NamedTuple):
    """The price of one call."""

    nano_usd: int | None
    status: CostStatus
    version: str | None
    """The price list and the model matched in it, as "genai-prices 0.2.3 openai:gpt-4o"; what else was applied."""

    @property
    def usd(self) -> Decimal | None:
        return None if self.nano_usd is None else to_usd(self.nano_usd)


UNPRICED = Priced(None, "unpriced", None)
CACHED = Priced(0, "cached", None)
FREE = Priced(0, "free", None)


class Terms(Protocol):
    """How a model is paid for."""

    def price(self, usage: Usage, at: datetime, tier: str | None) -> Priced:
        """What a usage costs. `tier`: one that has a price of its own."""

    def rates(self, usage: Usage, at: datetime, tier: str | None) -> Rates | None:
        """What each token of that usage costs; None if nobody says, or it is no sum of tokens."""


class Unknown:
    """Nobody says."""

    def price(self, usage: Usage, at: datetime, tier: str | None) -> Priced:
        return UNPRICED

    def rates(self, usage: Usage, at: datetime, tier: str | None) -> Rates | None:
        return None


class Free:
    """You said that it costs nothing."""

    def __init__(self, version: str) -> None:
        self._price = Priced(0, "free", version)

    def price(self, usage: Usage, at: datetime, tier: str | None) -> Priced:
        return self._price

    def rates(self, usage: Usage, at: datetime, tier: str | None) -> Rates | None:
        return None


class Own:
    """Your prices, each from its day on; before the first of them the `rest` holds."""

    def __init__(self, name: str, prices: tuple[ModelPrice, ...], rest: Terms) -> None:
        self._name, self._prices, self._rest = name, prices, rest
        self._learnt: dict[tuple[int, str | None], tuple[tuple[Rates, ...], CostStatus, str]] = {}

    def price(self, usage: Usage, at: datetime, tier: str | None) -> Priced:
        own = self._in_force(at)
        if own is None:
            return self._rest.price(usage, at, tier)
        tiers, status, version = self._learnt.get((id(own), tier)) or self._learn(own, tier)
        rates = pick(tiers, usage)
        return Priced(rates.nano(usage) if rates else None, status, version)

    def rates(self, usage: Usage, at: datetime, tier: str | None) -> Rates | None:
        own = self._in_force(at)
        if own is None:
            return self._rest.rates(usage, at, tier)
        tiers, _, _ = self._learnt.get((id(own), tier)) or self._learn(own, tier)
        return pick(tiers, usage)

    def _in_force(self, at: datetime) -> ModelPrice | None:
        own = self._prices[0] if len(self._prices) == 1 else in_force(self._prices, at)
        return own if own is None or own.since is None else in_force((own,), at)

    def _learn(self, own: ModelPrice, tier: str | None) -> tuple[tuple[Rates, ...], CostStatus, str]:
        version = f"override {self._name}"
        if own.since is not None:
            version += f" since {own.since}"
        if tier and tier in (own.tiers or {}):
            version += f" {tier}"
        status: CostStatus = "free" if own.is_free else "override"
        learnt = self._learnt[(id(own), tier)] = own.rates(tier), status, version
        return learnt


class OffTheList:
    """The list's price, at the tier's rate if it has one, less what you negotiated."""

    def __init__(self, listed: Listed, discounts: tuple[Discount, ...], note: str) -> None:
        self._listed, self._discounts, self._note = listed, discounts, note
        self._version = listed.version + note
        self._sells_tokens: bool | None = None
        self._reduced: dict[tuple[int, int], tuple[Rates, Rates]] = {}

    def price(self, usage: Usage, at: datetime, tier: str | None) -> Priced:
        if self._sells_tokens is None:
            self._sells_tokens = self._listed.sells_tokens(at)
        if not self._sells_tokens:
            return Priced(0, "free", self._version) if self._listed.is_free else UNPRICED
        discount = in_force(self._discounts, at) if self._discounts else None
        if tier is None and discount is None:
            return Priced(self._listed.nano(usage, at), "priced", self._version)
        return self._special(usage, at, tier, discount)

    def rates(self, usage: Usage, at: datetime, tier: str | None) -> Rates | None:
        rates = pick(self._listed.rates(at, tier), usage)
        discount = in_force(self._discounts, at) if self._discounts else None
        return self._less(rates, discount) if rates is not None and discount is not None else rates

    def _special(self, usage: Usage, at: datetime, tier: str | None, discount: Discount | None) -> Priced:
        version = self._version
        if tier is not None:
            known = self._listed.has_tier(tier, at)
            version += f" {tier}" if known else f" (no price for {tier})"
        if discount is None:
            return Priced(self._listed.nano(usage, at, tier), "priced", version)
        version += f" less {discount.off}"
        rates = pick(self._listed.rates(at, tier), usage)
        if rates is not None:
            return Priced(self._less(rates, discount).nano(usage), "priced", version)
        left = self._listed.nano(usage, at, tier) * discount.factor
        return Priced(round(left), "priced", version)

    def _less(self, rates: Rates, discount: Discount) -> Rates:
        key = (id(rates), id(discount))
        if key not in self._reduced:
            self._reduced[key] = (
                rates,
                rates.times(discount.factor),
            )  # kept with them, so that the id stays theirs
        return self._reduced[key][1]
