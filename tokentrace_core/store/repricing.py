"""Pricing again what was recorded: at another day's prices, or with those that were not known then.

What a call was charged is a fact of its time, so nothing here happens by itself, and nothing is written:
`repriced_file` does that. Three things are left as they are. Runs that are not over: the process that records them holds their totals. Figures
that rest on prices of your own which the book at hand does not have: a list price in their place would be a worse
one, and none at all worse still. And budgets: what they let pass, they let pass at the price of the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from msgspec import Struct, field

from tokentrace_core.pricing import PriceBook, Priced
from tokentrace_core.usage import Usage


class Question(NamedTuple):
    """Which calls, and at which day's prices."""

    models: tuple[str, ...] = ()
    """Only these, by the name that was asked for or answered."""
    since: int | None = None
    as_of: date | None = None
    """At this day's prices, at the call's own hour; None: at those of the call's own day, as they are known now."""


class Change(NamedTuple):
    """One call whose figure is another now."""

    run_id: str
    id: str
    old: Priced
    new: Priced


class Group(Struct):
    """The calls of one model: what they were charged, and what they would be."""

    model: str
    provider: str | None
    calls: int = 0
    changed: int = 0
    kept: int = 0
    """They rest on prices that the book does not have."""
    old_nano: int = 0
    new_nano: int = 0
    old_unpriced: int = 0
    new_unpriced: int = 0

    def add(self, old: Priced, new: Priced, kept: bool) -> None:
        self.calls += 1
        self.changed += old[:2] != new[:2]
        self.kept += kept
        self.old_nano += old.nano_usd or 0
        self.new_nano += new.nano_usd or 0
        self.old_unpriced += old.nano_usd is None
        self.new_unpriced += new.nano_usd is None


class Repricing(Struct):
    """What comes of it, by model; `changes` is to be run through to know."""

    book: PriceBook
    question: Question
    groups: dict[tuple[str, str | None], Group] = field(default_factory=dict)
    unfinished_calls: int = 0
    """In runs that are not over."""

    def changes(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
        """The calls whose figures change. `rows`: the answer to `SELECT`."""
        for row in rows:
            if row["run_status"] in ("running", "waiting"):
                self.unfinished_calls += 1
                continue
            model, provider = row["model"] or row["model_answered"] or "(unknown)", row["provider"]
            old = Priced(row["cost_nano_usd"], row["cost_status"], row["price_version"])
            asked = self._priced(row)
            kept = _rests_on_more(old, asked)
            new = old if kept else asked
            if (model, provider) not in self.groups:
                self.groups[model, provider] = Group(model, provider)
            self.groups[model, provider].add(old, new, kept)
            if old[:2] != new[:2]:
                yield Change(row["run_id"], row["id"], old, new)

    def total(self) -> Group:
        """All models together."""
        whole = Group("", None)
        for group in self.groups.values():
            for name in ("calls", "changed", "kept", "old_nano", "new_nano", "old_unpriced", "new_unpriced"):
                setattr(whole, name, getattr(whole, name) + getattr(group, name))
        return whole

    def _priced(self, row: Mapping[str, Any]) -> Priced:
        return self.book.price_call(
            row["model"],
            row["model_answered"],
            _usage(row),
            provider=row["provider"],
            at=_moment(row["started_at"], self.question.as_of),
            tier=row["tier"],
        )


def _rests_on_more(old: Priced, new: Priced) -> bool:
    """Whether the old figure knew something that the new one does not."""
    if old.nano_usd is None:
        return False
    own = old.status in ("override", "free") and new.status not in ("override", "free")
    less = " less " in (old.version or "") and " less " not in (new.version or "")
    return new.nano_usd is None or own or (less and new.status == "priced")


def select(status: str, question: Question) -> tuple[str, dict[str, Any]]:
    """SQL for the calls that could be priced again. `status`: SQL for that of a run (r) by now."""
    models = [f":model{number}" for number in range(len(question.models))]
    chosen = (
        f"and (c.model in ({', '.join(models)}) or c.model_answered in ({', '.join(models)}))"
        if models
        else ""
    )
    sql = f"""
        select c.*, {status} as run_status, coalesce({_text_in("c.attributes")}, {_text_in("c.params")}) as tier
        from llm_calls c join runs r on r.id = c.run_id
        where c.status not in ('running', 'refused') and c.input_uncached_tokens is not null
          and c.cost_status is not null and c.cost_status != 'cached' and c.started_at >= :since {chosen}
    """
    parameters: dict[str, Any] = {f"model{number}": model for number, model in enumerate(question.models)}
    return sql, parameters | {"since": question.since or 0}


def _text_in(column: str) -> str:
    place = f"json_extract({column}, '$.service_tier')"
    return f"case when {column} like '%service_tier%' and json_valid({column}) then {place} end"


def _usage(row: Mapping[str, Any]) -> Usage:
    counters: dict[str, Any] = {name: row.get(name) or 0 for name in _COUNTERS}
    return Usage(**counters)


_COUNTERS = (
    "input_uncached_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
    "web_searches",
)


def _moment(started_at: int, as_of: date | None) -> datetime:
    """When the call was made; with `as_of`, on that day at the same hour, since some prices depend on it."""
    at = datetime.fromtimestamp(started_at / 1_000_000, UTC)
    return at if as_of is None else datetime.combine(as_of, at.timetz())
