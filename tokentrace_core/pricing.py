"""What calls cost: your own prices, else genai-prices' bundled table, offline, exact, and honest about gaps.

A model's terms are found once for each spelling of its name and then remembered; from then on a price is a few
multiplications. Amounts are `Decimal` dollars outside and integer nano-dollars in spans and tables, so that sums are
exact. A model without a price costs None, never 0 and never a default: a silent guess is how a month of spend
disappears from a report.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

from tokentrace_core import price_file, price_list
from tokentrace_core.errors import TokentraceError
from tokentrace_core.estimates import EXPECTED_REPLY_TOKENS, count_tokens, estimate_tokens
from tokentrace_core.money import NANO, show_usd, to_nano, to_usd
from tokentrace_core.own_prices import Amount, Discount, ModelPrice, newest_first, number
from tokentrace_core.rates import Rates
from tokentrace_core.terms import CACHED, FREE, UNPRICED, Free, OffTheList, Own, Priced, Terms, Unknown
from tokentrace_core.usage import Usage
from tokentrace_core.windows import window_of

__all__ = [
    "CACHED",
    "EXPECTED_REPLY_TOKENS",
    "FREE",
    "NANO",
    "UNPRICED",
    "Discount",
    "ModelPrice",
    "PriceBook",
    "Priced",
    "estimate_tokens",
    "show_usd",
    "to_nano",
    "to_usd",
]

log = logging.getLogger("tokentrace")

#: A book remembers this many spellings of model names; more would be a caller inventing names.
_REMEMBERED_MODELS = 4_096
#: A price file that every book begins with which is not given one.
FILE_VARIABLE = "TOKENTRACE_PRICES"


class PriceBook:
    """Prices by model name. What you say goes before the list; a model that neither knows has no price.

    `overrides`: your own price of a model (or of a deployment), or several with `since=`. `aliases`: another name for
    a model, as an Azure deployment has. `discounts`: what you negotiated off the list, by provider, model or "*": 0.15
    is 15 %. `free`: models or providers that cost nothing, as those on your own hardware; `*` stands for anything.
    `tools`: what a call of a tool costs, in dollars, if the call itself does not say.
    """

    def __init__(
        self,
        overrides: Mapping[str, ModelPrice | Sequence[ModelPrice]] | None = None,
        *,
        aliases: Mapping[str, str] | None = None,
        discounts: Mapping[str, Amount | Discount | Sequence[Discount]] | None = None,
        free: Iterable[str] = (),
        tools: Mapping[str, Amount] | None = None,
    ) -> None:
        self._overrides = {name.lower(): newest_first(price) for name, price in (overrides or {}).items()}
        self._aliases = {name.lower(): model for name, model in (aliases or {}).items()}
        self._discounts = {name.lower(): _discounts(off) for name, off in (discounts or {}).items()}
        self._free = tuple(name.lower() for name in free)
        self._tools = {name: to_nano(number(price)) for name, price in (tools or {}).items()}
        self._known: dict[tuple[str, str | None], Terms] = {}
        self._dearest: dict[str | None, ModelPrice] = {}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> PriceBook:
        """A book from a TOML or JSON file; `tokentrace prices --help` shows one. Raises `TokentraceError`."""
        try:
            return cls(**price_file.read(Path(path)))
        except ValueError as error:
            raise TokentraceError(f"{path}: {error}") from error

    @classmethod
    def default(cls) -> PriceBook:
        """The book of whoever is not given one: `TOKENTRACE_PRICES`, else the list alone.

        A file that cannot be read is said in the log, and the list is used: it knows of no discount and leaves
        unpriced what only the file priced, so that no figure is too low and no agent stops for a typing error.
        """
        path = os.environ.get(FILE_VARIABLE)
        if not path:
            return cls()
        try:
            return cls.from_file(path)
        except TokentraceError as error:
            log.error("tokentrace: %s=%s is not used: %s", FILE_VARIABLE, path, error)
            return cls()

    # ── what a call cost ─────────────────────────────────────────────────────────────────────────────

    def cost(
        self,
        model: str | None,
        usage: Usage,
        *,
        provider: str | None = None,
        at: datetime | None = None,
        tier: str | None = None,
    ) -> Decimal | None:
        """What the call cost in US dollars, or None if the model has no price."""
        return self.price(model, usage, provider=provider, at=at, tier=tier).usd

    def price(
        self,
        model: str | None,
        usage: Usage,
        *,
        provider: str | None = None,
        at: datetime | None = None,
        tier: str | None = None,
    ) -> Priced:
        """As `cost`, with where the figure comes from. `at` is the time of the call: prices have dates.

        `tier`: how it was served (batch, flex, priority, fast), if the usage does not say.
        """
        if not model:
            return UNPRICED
        terms = self._known.get((model, provider)) or self._remember(model, provider)
        if at is None:
            at = datetime.now(UTC)
        elif at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        said = usage.service_tier or tier
        return terms.price(usage, at, price_list.tier_of(said) if said else None)

    def price_call(
        self,
        model: str | None,
        answered: str | None,
        usage: Usage,
        *,
        provider: str | None,
        at: datetime,
        tier: str | None,
    ) -> Priced:
        """The price of a call to which one model was asked and another, perhaps, answered.

        A price of yours is for the name you ask by; a provider answers with one of its own (gpt-4o-2024-08-06). Without
        one it is the model that answered, which is billed.
        """
        if not self.has_yours(model, provider):
            priced = self.price(answered, usage, provider=provider, at=at, tier=tier)
            if priced.nano_usd is not None:
                return priced
        return self.price(model, usage, provider=provider, at=at, tier=tier)

    def rates_of_call(
        self,
        model: str | None,
        answered: str | None,
        usage: Usage,
        *,
        provider: str | None,
        at: datetime,
        tier: str | None,
    ) -> Rates | None:
        """What each token of a call cost by whose terms `price_call` prices it; None if that is no sum of tokens."""
        tier = price_list.tier_of(usage.service_tier or tier)
        billed = (model,) if self.has_yours(model, provider) else (answered, model)
        for name in billed:
            terms = name and (self._known.get((name, provider)) or self._remember(name, provider))
            if terms and terms.price(usage, at, tier).nano_usd is not None:
                return terms.rates(usage, at, tier)
        return None

    def has_yours(self, model: str | None, provider: str | None) -> bool:
        """Whether you yourself said what this model costs, under this name."""
        if not model:
            return False
        terms = self._known.get((model, provider)) or self._remember(model, provider)
        return isinstance(terms, Own | Free)

    def tool_nano(self, name: str) -> int | None:
        """What a call of this tool costs; None if nobody said."""
        return self._tools.get(name)

    def dearest(self, provider: str | None) -> ModelPrice:
        """What to assume of a provider's model that has no price: that of its dearest one. Never recorded as a cost.

        15 $ and 75 $ per million tokens, if the provider is unknown, too.
        """
        if provider not in self._dearest:
            self._dearest[provider] = price_list.dearest(provider)
        return self._dearest[provider]

    def warm(self) -> None:
        """Load the tables now (a third of a second), not at the first call."""
        self.price("gpt-4o", Usage(input_uncached_tokens=1))

    def fingerprint(self) -> str:
        """Another text for every book that may charge anything else: by what you say, and by the version of the list."""
        yours = self._overrides, self._aliases, self._discounts, self._free, self._tools
        told = f"{metadata.version('genai-prices')} {yours!r}"
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    # ── before a call ────────────────────────────────────────────────────────────────────────────────

    def estimate_cost(
        self,
        model: str,
        prompt: str | int,
        max_tokens: int = EXPECTED_REPLY_TOKENS,
        *,
        provider: str | None = None,
    ) -> Decimal | None:
        """Roughly what a call will cost, in US dollars. None if the model has no price.

        `prompt` is its text, or its size in tokens. How text is counted: `estimates`.
        """
        tokens = prompt if isinstance(prompt, int) else self._count(prompt, model, provider)
        return self.cost(
            model, Usage(input_uncached_tokens=tokens, output_tokens=max_tokens), provider=provider
        )

    def context_window(self, model: str, *, provider: str | None = None) -> int | None:
        """The most tokens the model takes, prompt and reply; None where nobody says."""
        return window_of(price_list.look_up(self._named(model, provider), provider))

    def _count(self, prompt: str, model: str, provider: str | None) -> int:
        name = self._named(model, provider)
        listed = price_list.look_up(name, provider)
        return count_tokens(prompt, listed.id if listed else name, listed.provider if listed else provider)

    # ── whose terms ──────────────────────────────────────────────────────────────────────────────────

    def _remember(self, model: str, provider: str | None) -> Terms:
        if len(self._known) >= _REMEMBERED_MODELS:
            self._known.clear()
        terms = self._known[(model, provider)] = self._terms(model, provider)
        return terms

    def _terms(self, model: str, provider: str | None) -> Terms:
        """Your own price, else what you call free, else the list's."""
        name = self._named(model, provider)
        if self._is_free(model, name, provider):
            return Free(f"free {model}")
        listed = price_list.look_up(name, provider)
        as_alias = "" if name == model else f" as {model}"
        rest: Terms = Unknown()
        if listed is not None:
            off = self._negotiated(model, name, provider, listed)
            rest = OffTheList(listed, off, as_alias)
        for asked in dict.fromkeys((model, name, listed.id if listed else name)):
            for key in (_with(provider, asked), asked.lower()):
                if key in self._overrides:
                    return Own(key, self._overrides[key], rest)
        return rest

    def _named(self, model: str, provider: str | None) -> str:
        """The model that a name is an alias of, whatever the alias is of."""
        name, seen = model, {model}
        while alias := self._aliases.get(_with(provider, name)) or self._aliases.get(name.lower()):
            if alias in seen:
                return model  # a circle names nothing
            seen.add(alias)
            name = alias
        return name

    def _is_free(self, *names: str | None) -> bool:
        return any(name and fnmatchcase(name.lower(), free) for free in self._free for name in names)

    def _negotiated(
        self, model: str, name: str, provider: str | None, listed: price_list.Listed
    ) -> tuple[Discount, ...]:
        sought = (model, name, listed.id, provider or "", listed.provider, "*")
        return next((self._discounts[key.lower()] for key in sought if key.lower() in self._discounts), ())


def _with(provider: str | None, model: str) -> str:
    return f"{provider}/{model}".lower() if provider else model.lower()


def _discounts(given: Amount | Discount | Sequence[Discount]) -> tuple[Discount, ...]:
    if isinstance(given, Decimal | int | float | str):
        return (Discount(off=given),)
    return newest_first(given)
