"""What tokens cost: genai-prices' bundled tables behind `PriceBook`, offline, exact, and honest about gaps.

A model is looked up once and then remembered, whatever spelling the provider answered with. Amounts are
`Decimal` dollars outside and integer nano-dollars (10⁻⁹ $) in spans and tables, so that sums are exact. A
model without a price costs None, never 0 and never a default: a silent guess is how a month of spend
disappears from a report.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from msgspec import Struct

from tokentrace_core.rates import Rates, learn
from tokentrace_core.spans import CostStatus
from tokentrace_core.usage import Usage

NANO = 1_000_000_000
#: Tokens a reply is expected to have when nothing is known of it (requirement S15).
EXPECTED_REPLY_TOKENS = 256
_BYTES_PER_TOKEN = 4
_CENT = Decimal("0.01")
#: A book remembers this many spellings of model names; more would be a caller inventing names.
_REMEMBERED_MODELS = 4_096


class ModelPrice(Struct, frozen=True, kw_only=True):
    """Your own price for a model, in US dollars per million tokens. Overrides the bundled table.

    A price left out follows the usual ratio to `input` (reads 0.1, five-minute writes 1.25, one-hour writes
    2); `ModelPrice(input=0, output=0)` marks a model of your own hardware as free.
    """

    input: Decimal | int | str
    output: Decimal | int | str
    cache_read: Decimal | int | str | None = None
    cache_write_5m: Decimal | int | str | None = None
    cache_write_1h: Decimal | int | str | None = None

    def dollars(self, usage: Usage) -> Decimal:
        """What this usage costs in US dollars."""
        base = Decimal(self.input)
        per_million = (
            (usage.input_uncached_tokens, base),
            (usage.cache_read_tokens, _or(self.cache_read, base * Decimal("0.1"))),
            (usage.cache_write_5m_tokens, _or(self.cache_write_5m, base * Decimal("1.25"))),
            (usage.cache_write_1h_tokens, _or(self.cache_write_1h, base * 2)),
            (usage.output_tokens, Decimal(self.output)),
        )
        return sum((tokens * price for tokens, price in per_million), Decimal()) / 1_000_000


class Priced(NamedTuple):
    """The price of one call."""

    nano_usd: int | None
    status: CostStatus
    version: str | None
    """The price list and the model matched in it, as "genai-prices 0.2.3 openai:gpt-4o"."""

    @property
    def usd(self) -> Decimal | None:
        return None if self.nano_usd is None else to_usd(self.nano_usd)


UNPRICED = Priced(None, "unpriced", None)
CACHED = Priced(0, "cached", None)
FREE = Priced(0, "free", None)


class PriceBook:
    """Prices by model name. `overrides` maps a model name (or a deployment's) to a `ModelPrice`."""

    def __init__(self, overrides: Mapping[str, ModelPrice] | None = None) -> None:
        self._overrides = {name.lower(): price for name, price in (overrides or {}).items()}
        self._known: dict[tuple[str, str | None], Any] = {}
        self._dearest: dict[str | None, ModelPrice] = {}
        self._rates: dict[int, tuple[Any, tuple[Rates, ...]]] = {}

    def cost(
        self, model: str | None, usage: Usage, *, provider: str | None = None, at: datetime | None = None
    ) -> Decimal | None:
        """What the call cost in US dollars, or None if the model has no price."""
        return self.price(model, usage, provider=provider, at=at).usd

    def price(
        self, model: str | None, usage: Usage, *, provider: str | None = None, at: datetime | None = None
    ) -> Priced:
        """As `cost`, with where the figure comes from. `at` is the time of the call: prices have dates."""
        if not model:
            return UNPRICED
        if override := self._overrides.get(model.lower()):
            amount = override.dollars(usage)
            free = not Decimal(override.input) and not Decimal(override.output)
            return Priced(to_nano(amount), "free" if free else "override", f"override {model}")
        listed = self._listed(model, provider)
        if listed is None:
            return UNPRICED
        return Priced(self._nano(listed, usage, at or datetime.now(UTC)), "priced", listed[2])

    def estimate_cost(
        self,
        model: str,
        prompt: str | int,
        max_tokens: int = EXPECTED_REPLY_TOKENS,
        *,
        provider: str | None = None,
    ) -> Decimal | None:
        """Roughly what a call will cost, in US dollars. None if the model has no price.

        `prompt` is its text, or its size in tokens. Text counts as one token per four UTF-8 bytes: good for
        prose, up to half too low for dense JSON.
        """
        tokens = prompt if isinstance(prompt, int) else estimate_tokens(len(prompt.encode(errors="replace")))
        return self.cost(
            model, Usage(input_uncached_tokens=tokens, output_tokens=max_tokens), provider=provider
        )

    def context_window(self, model: str, *, provider: str | None = None) -> int | None:
        """The most prompt tokens the model takes, where the price list says so."""
        listed = self._listed(model, provider)
        return None if listed is None else listed[1].context_window

    def dearest(self, provider: str | None) -> ModelPrice:
        """What to assume of a provider's model that has no price: that of its dearest one. Never recorded as a cost.

        15 $ and 75 $ per million tokens, if the provider is unknown, too.
        """
        if provider not in self._dearest:
            self._dearest[provider] = _dearest(provider)
        return self._dearest[provider]

    def warm(self) -> None:
        """Load the tables now (a third of a second), not at the first call."""
        self.price("gpt-4o", Usage(input_uncached_tokens=1))

    def _nano(self, listed: tuple[Any, Any, str], usage: Usage, at: datetime) -> int:
        """What the list charges for this usage, by rates where they are known to say the same."""
        prices = listed[1].get_prices(at)
        _, tiers = self._rates.get(id(prices)) or self._learn(listed, prices, at)
        prompt = usage.input_tokens
        for rates in tiers:
            if prompt > rates.above or not rates.above:
                return rates.nano(usage)
        return to_nano(_dollars_listed(listed, usage, at))

    def _learn(
        self, listed: tuple[Any, Any, str], prices: Any, at: datetime
    ) -> tuple[Any, tuple[Rates, ...]]:
        learnt = learn(prices, lambda usage: _dollars_listed(listed, usage, at))
        self._rates[id(prices)] = prices, learnt  # kept with them, so that the id stays theirs
        return prices, learnt

    def _listed(self, model: str, provider: str | None) -> tuple[Any, Any, str] | None:
        """The bundled (provider, model, version) for a name, or None; looked up once."""
        key = (model, provider)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED_MODELS:
                self._known.clear()
            self._known[key] = _look_up(model, provider)
        return self._known[key]  # type: ignore[no-any-return]


def _look_up(model: str, provider: str | None) -> tuple[Any, Any, str] | None:
    # Imported here: the tables cost a third of a second, which `import tokentrace_core` must not.
    prices = importlib.import_module("genai_prices")
    snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    for name, hint in _spellings(model, provider):
        try:
            found_provider, found_model = snapshot.find_provider_model(name, None, hint, None)
        except LookupError:
            continue
        version = f"genai-prices {prices.__version__} {found_provider.id}:{found_model.id}"
        return found_provider, found_model, version
    return None


def _dearest(provider: str | None) -> ModelPrice:
    snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    try:
        models = snapshot.find_provider(None, provider, None).models if provider else []
    except LookupError:
        models = []
    prices = [model.get_prices(datetime.now(UTC)) for model in models if not model.deprecated]
    rates = [(_base(price.output_mtok), _base(price.input_mtok)) for price in prices]
    output, prompt = max(rates, default=(Decimal(0), Decimal(0)))
    return ModelPrice(input=prompt, output=output) if output else ModelPrice(input=15, output=75)


def _base(price: Any) -> Decimal:
    return Decimal(getattr(price, "base", price) or 0)


def _spellings(model: str, provider: str | None) -> list[tuple[str, str | None]]:
    """The ways to ask for a model, best first: with its provider, "provider/model", and bare."""
    ways: list[tuple[str, str | None]] = []
    if provider:
        ways.append((model, provider))
    if "/" in model:
        ways.append((model, "litellm"))
        prefix, _, bare = model.partition("/")
        ways += [(bare, prefix), (bare, provider), (bare, None)]
    elif not provider or provider in _SPEAKS_FOR_OTHERS:
        ways.append((model, None))
    return ways


#: Providers whose name says which client was used, not whose model answered.
_SPEAKS_FOR_OTHERS = frozenset({"azure_openai", "litellm", "openai", "unknown"})


def _dollars_listed(listed: tuple[Any, Any, str], usage: Usage, at: datetime) -> Decimal:
    provider, model, _ = listed
    price = model.calc_price(_as_listed(usage), provider, genai_request_timestamp=at)
    return Decimal(price.total_price)


def _as_listed(usage: Usage) -> Any:
    """genai-prices counts input as a whole, cache included."""
    return importlib.import_module("genai_prices").Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
    )


def estimate_tokens(utf8_bytes: int) -> int:
    """Tokens in this many bytes of text, rounded up: four bytes each (requirement S16)."""
    return -(-utf8_bytes // _BYTES_PER_TOKEN)


def to_nano(usd: Decimal | float | str) -> int:
    """Dollars to whole nano-dollars, half to even."""
    return int((Decimal(str(usd)) * NANO).to_integral_value(ROUND_HALF_EVEN))


def to_usd(nano_usd: int) -> Decimal:
    """Nano-dollars to dollars, exact."""
    return Decimal(nano_usd).scaleb(-9)


def show_usd(nano_usd: int) -> str:
    """`$12.35`, `$0.0123`, `$0.00041`: from a cent up four digits of a dollar, below it two that count."""
    amount = to_usd(nano_usd)
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    if not amount:
        return "$0"
    if amount >= 1:
        return f"{sign}${amount:,.2f}"
    digits = 4 if amount >= _CENT else 1 - amount.adjusted()
    return f"{sign}${amount:.{min(digits, 9)}f}"


def _or(price: Decimal | int | str | None, fallback: Decimal) -> Decimal:
    return fallback if price is None else Decimal(price)
