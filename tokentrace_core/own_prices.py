"""Prices of your own: what a model costs you, from when on, and what you negotiated off the list.

Every figure is checked when it is given, because a price is used months before anybody reads the bill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TypeVar

from msgspec import Struct

from tokentrace_core.rates import Rates, whole
from tokentrace_core.usage import Usage

Amount = Decimal | int | float | str
Since = date | datetime | str


class ModelPrice(Struct, frozen=True, kw_only=True):
    """Your own price for a model, in US dollars per million tokens. Overrides the bundled table.

    A price left out follows the usual ratio to `input` (reads 0.1, five-minute writes 1.25, one-hour writes 2; sound
    costs what text does); `ModelPrice(input=0, output=0)` marks a model of your own hardware as free.
    """

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write_5m: Amount | None = None
    cache_write_1h: Amount | None = None
    input_audio: Amount | None = None
    output_audio: Amount | None = None
    search: Amount | None = None
    """For one web search that the provider makes, in dollars."""
    above: Mapping[int, ModelPrice] | None = None
    """What the whole call costs instead if its prompt is longer than this many tokens."""
    tiers: Mapping[str, Amount] | None = None
    """The part of the price that a service tier costs: {"batch": "0.5", "priority": 2}."""
    since: Since | None = None
    """The day, or the time, from which on the price holds (UTC)."""

    def __post_init__(self) -> None:
        self.rates()
        self.starts_at  # noqa: B018 - a date that is none is refused now

    def dollars(self, usage: Usage) -> Decimal:
        """What this usage costs in US dollars, to the last digit; without regard to tiers."""
        per_million = (
            (usage.input_uncached_tokens, number(self.input)),
            (usage.cache_read_tokens, self._or(self.cache_read, "0.1")),
            (usage.cache_write_5m_tokens, self._or(self.cache_write_5m, "1.25")),
            (usage.cache_write_1h_tokens, self._or(self.cache_write_1h, "2")),
            (usage.output_tokens, number(self.output)),
        )
        return sum((tokens * price for tokens, price in per_million), Decimal()) / 1_000_000

    def rates(self, tier: str | None = None) -> tuple[Rates, ...]:
        """As whole numbers, for the longest prompts first. `tier`: a key of `tiers`."""
        longer = self.above or {}
        limits = sorted({int(limit): price for limit, price in longer.items()}.items(), reverse=True)
        if any(limit <= 0 or price.above for limit, price in limits):
            raise ValueError(f"{longer!r}: above= takes a prompt's length and the price from there on")
        tiers = (*(price._rates(limit) for limit, price in limits), self._rates(0))
        factor = (self.tiers or {}).get(tier or "")
        return tiers if factor is None else tuple(rates.times(Fraction(number(factor))) for rates in tiers)

    @property
    def starts_at(self) -> datetime | None:
        """`since` as a time; None: it always held."""
        return None if self.since is None else moment(self.since)

    @property
    def is_free(self) -> bool:
        """Whether nothing is charged, whatever is used."""
        return not any(rate for rates in self.rates() for rate in rates[1:])

    def _rates(self, above: int) -> Rates:
        base, output = number(self.input), number(self.output)
        return Rates(
            above=above,
            call=0,
            uncached=_per_token(base),
            read=_per_token(self._or(self.cache_read, "0.1")),
            write_5m=_per_token(self._or(self.cache_write_5m, "1.25")),
            write_1h=_per_token(self._or(self.cache_write_1h, "2")),
            output=_per_token(output),
            input_audio=_per_token(self._or(self.input_audio, "1") - base),
            output_audio=_per_token(
                (output if self.output_audio is None else number(self.output_audio)) - output
            ),
            search=whole(number(self.search or 0)),
        )

    def _or(self, price: Amount | None, ratio: str) -> Decimal:
        return number(self.input) * Decimal(ratio) if price is None else number(price)


class Discount(Struct, frozen=True, kw_only=True):
    """What you negotiated off the list: `Discount(off="0.15", since="2026-07-01")` is 15 % from July on."""

    off: Amount
    since: Since | None = None

    def __post_init__(self) -> None:
        if not 0 <= number(self.off) < 1:
            raise ValueError(f"a discount of {self.off}: write the part that is taken off, 0.15 for 15 %")
        self.starts_at  # noqa: B018

    @property
    def starts_at(self) -> datetime | None:
        """`since` as a time; None: it always held."""
        return None if self.since is None else moment(self.since)

    @property
    def factor(self) -> Fraction:
        """The part of the list price that is left to pay."""
        return Fraction(1 - number(self.off))


Dated = TypeVar("Dated", ModelPrice, Discount)


def newest_first(given: Dated | Sequence[Dated]) -> tuple[Dated, ...]:
    """One, or several that follow each other."""
    several = [given] if isinstance(given, ModelPrice | Discount) else list(given)
    return tuple(sorted(several, key=lambda one: one.starts_at or _EVER, reverse=True))


def in_force(dated: tuple[Dated, ...], at: datetime) -> Dated | None:
    """The one that holds at a time; `dated` newest first."""
    return next((one for one in dated if (one.starts_at or _EVER) <= at), None)


def number(given: Amount) -> Decimal:
    """An amount as people write it: 0.1 is a tenth, whatever the float says."""
    try:
        amount = given if isinstance(given, Decimal) else Decimal(str(given))
    except InvalidOperation:
        raise ValueError(f"{given!r} is no amount") from None
    if isinstance(given, bool) or not amount.is_finite() or amount < 0:
        raise ValueError(f"{given!r} is no amount of dollars: it must be a number from 0 up")
    return amount


def moment(since: Since) -> datetime:
    """The beginning of a day, or a time; UTC if it names no zone. ValueError if it is none."""
    if isinstance(since, str):
        since = datetime.fromisoformat(since)
    if not isinstance(since, datetime):
        since = datetime.combine(since, time())
    return since if since.tzinfo else since.replace(tzinfo=UTC)


_EVER = datetime.min.replace(tzinfo=UTC)


def _per_token(per_million: Decimal) -> int:
    return whole(per_million / 1_000_000)
