"""genai-prices' bundled table: which of its models a name means, and what that charges, and when.

Offline: the table is part of the package, and nothing here starts its updater. It is loaded at the first question,
because that takes a third of a second, which `import tokentrace_core` must not.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tokentrace_core.model_names import spellings
from tokentrace_core.money import to_nano
from tokentrace_core.own_prices import ModelPrice
from tokentrace_core.rates import Rates, learn, pick
from tokentrace_core.usage import Usage

#: What each tier is in the list's terms; others are served at the usual price.
TIERS: dict[str, dict[str, str]] = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}
_ALSO = {"on_demand_flex": "flex", "on_demand_priority": "priority"}


def tier_of(said: str | None) -> str | None:
    """The tier that has a price of its own; None for the usual ones."""
    if said is None:
        return None
    name = _ALSO.get(said.lower(), said.lower())
    return name if name in TIERS else None


class Listed:
    """A model of the list."""

    def __init__(self, provider: Any, model: Any, package: str) -> None:
        self.provider: str = provider.id
        self.id: str = model.id
        self.context_window: int | None = model.context_window
        self.version = f"{package} {provider.id}:{model.id}"
        self._provider, self._model = provider, model
        self._learnt: dict[tuple[int, ...], tuple[Any, tuple[Rates, ...]]] = {}

    def rates(self, at: datetime, tier: str | None = None) -> tuple[Rates, ...]:
        """What it charges at a time, for the longest prompts first. Empty if that is no sum of counters."""
        prices = self._model.get_prices(at)
        variants = self._variants(at, tier) if tier else ()
        key = (id(prices), *map(id, variants))
        known = self._learnt.get(key)
        if known is None:
            context = TIERS[tier] if tier and variants else None
            learnt = learn(
                self._model.get_prices(at, context), lambda usage: self._dollars(usage, at, context)
            )
            known = self._learnt[key] = prices, learnt  # kept with the prices, so that the id stays theirs
        return known[1]

    def nano(self, usage: Usage, at: datetime, tier: str | None = None) -> int:
        """What the list charges for this usage, by rates where they are known to say the same."""
        rates = pick(self.rates(at, tier), usage)
        if rates is not None:
            return rates.nano(usage)
        return to_nano(self._dollars(usage, at, TIERS[tier] if tier and self.has_tier(tier, at) else None))

    def has_tier(self, tier: str, at: datetime) -> bool:
        """Whether the list has a price for this tier."""
        return bool(self._variants(at, tier))

    def sells_tokens(self, at: datetime) -> bool:
        """Whether it charges by the token.

        A model for speech may charge by the hour, which we are not told; and of many a model the list knows the name
        but no price, which it reads as nothing to pay.
        """
        tiers = self.rates(at)
        return not tiers or any(rates.charge_tokens for rates in tiers)

    @property
    def is_free(self) -> bool:
        """OpenRouter's free variants; their price of nothing is meant."""
        return self.id.endswith(":free")

    def _variants(self, at: datetime, tier: str) -> tuple[Any, ...]:
        # The prices of a model that another provider lends its name to are not those of that provider's tiers.
        if self._model not in self._provider.models:
            return ()
        context = TIERS[tier]
        return tuple(
            variant
            for variant in self._model.price_variants or ()
            if (variant.constraint is None or variant.constraint.active(at))
            and all(context.get(name) == value for name, value in variant.when.items())
        )

    def _dollars(self, usage: Usage, at: datetime, context: dict[str, str] | None) -> Decimal:
        price = self._model.calc_price(
            _as_listed(usage), self._provider, genai_request_timestamp=at, price_context=context
        )
        return Decimal(price.total_price)


def look_up(model: str, provider: str | None) -> Listed | None:
    """The model of the list that a name means."""
    package = importlib.import_module("genai_prices")
    snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    for name, hint in spellings(model, provider):
        try:
            found, model = snapshot.find_provider_model(name, None, hint, None)
        except LookupError:
            continue
        return Listed(found, model, f"genai-prices {package.__version__}")
    return None


def known_models(part: str, provider: str | None = None) -> list[tuple[str, str]]:
    """(provider, model) of all models of the list whose name has this in it."""
    snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    return [
        (seller.id, model.id)
        for seller in snapshot.providers
        if provider in (None, seller.id)
        for model in seller.models
        if part.lower() in model.id.lower()
    ]


def dearest(provider: str | None) -> ModelPrice:
    """The price of a provider's dearest model; 15 $ and 75 $ if the provider is unknown, too."""
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


def _as_listed(usage: Usage) -> Any:
    """genai-prices counts input as a whole, cache included, and wants to be told what of the cache was sound."""
    return importlib.import_module("genai_prices").Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        input_audio_tokens=min(usage.input_audio_tokens, usage.input_uncached_tokens),
        cache_audio_read_tokens=0,
        output_audio_tokens=usage.output_audio_tokens,
        web_searches=usage.web_searches,
    )
