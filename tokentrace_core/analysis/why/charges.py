"""What the models of a period charged per token: asked once for each model and price."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tokentrace_core.analysis.why.cells import charged_for
from tokentrace_core.analysis.why.effects import COUNTERS, Rates
from tokentrace_core.analysis.why.facts import Period, Work, calls_of
from tokentrace_core.analysis.why.rates import Charged, find_rates, rates_in_book
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader

#: So many single calls are read if the price book does not know.
_SAMPLE = 300


class Charges:
    """The rates of a period's work."""

    def __init__(self, reader: Reader, period: Period, book: PriceBook) -> None:
        self._reader, self._period, self._book = reader, period, book
        self._known: dict[tuple[str, str | None], Rates] = {}
        self._works: dict[tuple[str, str | None], list[Work]] = defaultdict(list)
        for work in period.work:
            if work.priced:
                self._works[work.model, work.version].append(work)

    def rates(self, work: Work) -> Rates:
        """Nano-dollars per token of each counter, and per call."""
        key = work.model, work.version
        if key not in self._known:
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, model: str, version: str | None) -> Rates:
        works = self._works[model, version]
        charged = charged_for(works)
        at = sum(work.at * work.calls for work in works) // charged.calls
        first = works[0]
        in_book = rates_in_book(self._book, model, first.answered, first.provider, at)
        return find_rates(in_book, charged, lambda: self._sample(model, version))

    def _sample(self, model: str, version: str | None) -> Iterator[Charged]:
        counters = ", ".join(f"coalesce(c.{counter}, 0) as {counter}" for counter in COUNTERS)
        sql, parameters = calls_of(self._period.scope).select(
            f"{counters}, c.cost_nano_usd",
            "and coalesce(c.model, c.model_answered, '(unknown)') = :model and c.price_version is :version"
            f" and c.cost_nano_usd > 0 limit {_SAMPLE}",
        )
        for row in self._reader.query(sql, parameters | {"model": model, "version": version}):
            yield Charged(1, tuple(row[counter] for counter in COUNTERS), row["cost_nano_usd"])
