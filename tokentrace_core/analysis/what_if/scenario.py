"""One combination of changes, told the recorded runs one after the other: what it would have saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tokentrace_core.analysis.audit.caching import LIFETIME_US, CacheRule, rule_of
from tokentrace_core.analysis.audit.calls import Call, Key
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.tariff import Tariff
from tokentrace_core.analysis.what_if.changes import (
    CachePrefix,
    Change,
    Model,
    NoPreamble,
    RetryCap,
    TruncateResults,
)
from tokentrace_core.analysis.what_if.prompt import Piece, Span, Zones

_PPM = 1_000_000
_PICO_PER_NANO = 1_000
#: Places that are remembered before those are forgotten that no cache would have any more.
_REMEMBERED = 100_000


class Recorded(NamedTuple):
    """A call as it was, in pieces."""

    call: Call
    pieces: tuple[Piece, ...]
    """Empty: the prompt is not known."""
    filler: int
    """Millionths of what was said that are filler."""


class Needless(NamedTuple):
    """What is not done when nothing is retried more often than is allowed."""

    calls: frozenset[Key]
    prompts: frozenset[str]
    """The prompts that were answered with nothing but them: later ones do not carry those answers."""


NOTHING = Needless(frozenset(), frozenset())


class RecordedRun(NamedTuple):
    """A run's calls in the order in which they were made."""

    calls: Sequence[Recorded]
    needless: Needless
    filler: dict[str, int]
    """Prompt -> millionths of its answer that are filler."""


class _Owner:
    """The call that has to write a prefix to the cache."""

    __slots__ = ("in_cache", "key", "premium", "rule")

    def __init__(self, key: Key, in_cache: int, premium: int, rule: CacheRule) -> None:
        self.key, self.in_cache, self.premium, self.rule = key, in_cache, premium, rule


class _Sent(NamedTuple):
    """Where a prefix was sent last."""

    at: int
    owner: _Owner
    tokens: int
    """Of the owner's prompt up to there."""


class Scenario:
    """What some changes would have saved together."""

    def __init__(self, changes: Iterable[Change], rates: CallRates) -> None:
        self.changes = tuple(changes)
        self._rates = rates
        self._caps = any(isinstance(change, RetryCap) for change in self.changes)
        self._caches = any(isinstance(change, CachePrefix) for change in self.changes)
        self._preamble = any(isinstance(change, NoPreamble) for change in self.changes)
        self._most = min(
            (each.tokens for each in self.changes if isinstance(each, TruncateResults)), default=None
        )
        self._models = [change for change in self.changes if isinstance(change, Model)]
        self._sent: dict[tuple[str | None, str | None, str], _Sent] = {}
        self._pico = 0
        self.calls: set[Key] = set()
        """The calls that would have cost something else."""

    @property
    def saved_nano_usd(self) -> int:
        """Nano-dollars; below 0: it would have cost more."""
        return self._pico // _PICO_PER_NANO

    def take(self, run: RecordedRun) -> None:
        """One more run."""
        gone = run.needless if self._caps else NOTHING
        for recorded in run.calls:
            if recorded.call.key in gone.calls:
                self._save(recorded.call, (recorded.call.cost or 0) * _PICO_PER_NANO)
            else:
                self._resend(recorded, list(self._cuts(recorded, run.filler, gone.prompts)))

    def _save(self, call: Call, pico: int) -> None:
        if pico:
            self._pico += pico
            self.calls.add(call.key)

    # ── what is not sent ─────────────────────────────────────────────────────────────────────────────

    def _cuts(self, recorded: Recorded, filler: dict[str, int], gone: frozenset[str]) -> Iterator[Span]:
        """What is left out of a prompt. The answer of an attempt that is not made goes with the results behind it."""
        dropping = False
        for piece in recorded.pieces:
            answers = piece.answers
            dropping = answers in gone or (dropping and piece.node.role == "tool")
            if dropping:
                yield piece.begins, piece.ends
            elif self._most is not None and piece.node.role == "tool" and piece.tokens > self._most:
                yield piece.begins + self._most, piece.ends
            elif self._preamble and answers in filler:
                yield piece.begins, piece.begins + piece.tokens * filler[answers] // _PPM

    # ── what is sent ─────────────────────────────────────────────────────────────────────────────────

    def _resend(self, recorded: Recorded, cuts: list[Span]) -> None:
        call = recorded.call
        paid = self._rates.of(call)
        if paid is None:
            return
        to = next((model.to for model in self._models if model.is_for(call)), None)
        tariff = paid if to is None else tariff_of(self._rates, to, call)
        before, now = Zones(call), Zones(call)
        now.cut(cuts)
        if self._preamble:
            now.output -= (call.output - call.reasoning) * recorded.filler // _PPM
        if self._caches and recorded.pieces and tariff.caches:
            self._cache(recorded, cuts, now, tariff, to or call.answered or call.model)
        if to is None:
            self._save(call, _pico(before, paid) - _pico(now, tariff))
        else:
            self._save(call, (call.cost or 0) * _PICO_PER_NANO - _pico(now, tariff))

    def _cache(
        self, recorded: Recorded, cuts: list[Span], now: Zones, tariff: Tariff, model: str | None
    ) -> None:
        """Read what was sent lately; let whoever sent it first pay for writing it."""
        call, rule = recorded.call, rule_of(model)
        premium = 0 if rule.automatic else max(0, tariff.write_5m - tariff.uncached)
        places = [(piece.node.id, _left(piece.ends, cuts)) for piece in recorded.pieces]
        known = next(
            (
                place
                for place in range(len(places) - 1, -1, -1)
                if self._lately(call, model, places[place][0])
            ),
            None,
        )
        if known is not None:
            cacheable = rule.cacheable(places[known][1])
            if cacheable > now.read:
                sent = self._sent[model, call.tools_id, places[known][0]]
                self._write(sent)
                now.read_up_to(cacheable)
        owner = _Owner(call.key, now.in_cache, premium, rule)
        for place, (node, tokens) in enumerate(places):
            earlier = self._sent.get((model, call.tools_id, node))
            if known is None or place > known or earlier is None:
                earlier = _Sent(call.started_at, owner, tokens)
            self._sent[model, call.tools_id, node] = earlier._replace(at=call.started_at)
        self._forget(call.started_at)

    def _lately(self, call: Call, model: str | None, node: str) -> bool:
        sent = self._sent.get((model, call.tools_id, node))
        return sent is not None and abs(call.started_at - sent.at) <= LIFETIME_US

    def _write(self, sent: _Sent) -> None:
        """The owner of a prefix that is read for the first time pays for having written it."""
        owner = sent.owner
        more = owner.rule.cacheable(sent.tokens) - owner.in_cache
        if more > 0:
            owner.in_cache += more
            if owner.premium:
                self._pico -= more * owner.premium
                self.calls.add(owner.key)

    def _forget(self, now: int) -> None:
        if len(self._sent) > _REMEMBERED:
            self._sent = {key: sent for key, sent in self._sent.items() if sent.at >= now - LIFETIME_US}


def tariff_of(rates: CallRates, model: str, call: Call) -> Tariff:
    """What another model would charge for a call, of whichever provider. The call's own if nobody knows."""
    found = rates.another(model, call) or rates.another(model, call, of_any=True)
    return found or rates.of(call) or Tariff(0, 0, 0, 0, 0)


def _left(position: int, cuts: list[Span]) -> int:
    """Where a position is after the cuts."""
    return position - sum(max(0, min(position, ends) - begins) for begins, ends in cuts)


def _pico(zones: Zones, tariff: Tariff) -> int:
    return sum(tokens * rate for tokens, rate in zip(zones.as_tuple(), tariff, strict=True))
