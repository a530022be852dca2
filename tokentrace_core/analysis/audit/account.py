"""Who may claim which dollar: every token of a call is claimed by one finding at most, so that findings add up.

A call is paid for its prompt, token by token, and for its reply. A prompt is read from the provider's cache at its start, then come the
parts that are written to it, then the rest at the full price: so a position in the prompt says what was paid there. A finding claims

- the whole call, which should not have been made: all that is left of its cost, or
- a part of the prompt, which should not have been sent, or which the cache should have served: what was paid for those
  tokens, less what the cache would have charged, or
- tokens of the reply, or
- the difference to another model's price, on all that nobody has claimed.

Findings claim in the order of `PRECEDENCE`; who comes late gets what is left. Amounts are whole nano-dollars, worked out
with rates in whole pico-dollars per token and rounded down, so the findings of a call never exceed its cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tokentrace_core.analysis.audit.calls import Call, Key
from tokentrace_core.analysis.audit.rates import CallRates
from tokentrace_core.analysis.audit.tariff import Tariff

#: The findings in the order in which they claim. Whole calls first: a call that should not have been made cannot be made
#: cheaper. Then what should not be in the prompt, by how plain the cause is; then what the cache should have served; then the
#: reply; last what changes the price of all that is left.
PRECEDENCE = (
    "retry_storm",
    "loop",
    "fan_out",
    "refetch",
    "broken_cache",
    "uncached_prefix",
    "preamble",
    "oversized_result",
    "unused_tools",
    "context_rot",
    "expensive_model",
)


class Waste(Struct, array_like=True, frozen=True, gc=False):
    """What a finding claims of one call. There may be a million of them: no more than is told of each."""

    key: Key
    at: int
    """When the call was made, in microseconds since the epoch."""
    tokens: int
    nano: int
    zones: tuple[int, ...] = ()
    """Tokens by what was paid for them: uncached, read, written for 5 minutes, for an hour, output."""
    premium: int = 0
    """Tokens that the cache would have charged for being written, and did not."""
    cached: bool = False
    """Whether they would still be sent, and read from the cache."""
    tariff: Tariff | None = None
    """The rates of the call; None: the whole call, at its recorded cost."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where in the prompt they stand."""


class _Claimed(Struct, gc=False):
    """What is gone of one call."""

    spans: tuple[tuple[int, int], ...] = ()
    output: int = 0
    nano: int = 0
    whole: bool = False


class Account:
    """All claims of one audit."""

    def __init__(self, rates: CallRates) -> None:
        self.rates = rates
        self._claimed: dict[Key, _Claimed] = {}

    def is_gone(self, call: Call) -> bool:
        """Whether all of the call is claimed."""
        claimed = self._claimed.get(call.key)
        return claimed is not None and claimed.whole

    def whole(self, call: Call) -> Waste | None:
        """The call should not have been made."""
        claimed = self._of(call)
        if claimed.whole:
            return None
        self._claimed[call.key] = claimed
        nano = (call.cost or 0) - claimed.nano
        tokens = call.prompt + call.output - claimed.output - sum(end - begin for begin, end in claimed.spans)
        claimed.whole, claimed.nano = True, call.cost or 0
        return Waste(call.key, call.started_at, tokens, nano)

    def prompt(self, call: Call, begin: int, end: int, *, cached: bool, premium: int = 0) -> Waste | None:
        """These tokens of the prompt should not have been sent; `cached`: should have been read from the cache.

        `premium`: tokens for which the cache would first have charged the writing.
        """
        tariff = self.rates.of(call)
        claimed = self._of(call)
        if claimed.whole or tariff is None:
            return None
        free = _without(claimed.spans, begin, min(end, call.prompt))
        zones = [0, 0, 0, 0, 0]
        for left, right in free:
            _add_zones(zones, call, left, right)
        if cached:
            zones[1] = 0  # it was
        tokens = sum(zones)
        nano = tariff.nano(zones, tokens if cached else 0, premium)
        if tokens <= 0 or nano <= 0:
            return None
        nano = min(nano, (call.cost or 0) - claimed.nano)
        self._claimed[call.key] = claimed
        claimed.spans = (*claimed.spans, *free)
        claimed.nano += nano
        return Waste(
            call.key, call.started_at, tokens, nano, tuple(zones), premium, cached, tariff, tuple(free)
        )

    def reply(self, call: Call, tokens: int) -> Waste | None:
        """These tokens should not have been generated."""
        tariff = self.rates.of(call)
        claimed = self._of(call)
        tokens = min(tokens, call.output - claimed.output)
        if claimed.whole or tariff is None or tokens <= 0:
            return None
        zones = (0, 0, 0, 0, tokens)
        nano = min(tariff.nano(zones, 0, 0), (call.cost or 0) - claimed.nano)
        self._claimed[call.key] = claimed
        claimed.output += tokens
        claimed.nano += nano
        return Waste(call.key, call.started_at, tokens, nano, zones, 0, False, tariff)

    def rest(self, call: Call, other: Tariff) -> Waste | None:
        """All that is left should have gone to another model. Its tokens are not wasted, only dollars are."""
        claimed = self._of(call)
        tariff = self.rates.of(call)
        if claimed.whole or tariff is None or claimed.spans:
            return None
        zones = (call.uncached, call.read, call.write_5m, call.write_1h, call.output - claimed.output)
        left = (call.cost or 0) - claimed.nano
        nano = min(tariff.nano(zones, 0, 0) - other.nano(zones, 0, 0), left)
        if nano <= 0:
            return None
        self._claimed[call.key] = claimed
        claimed.whole, claimed.nano = True, claimed.nano + nano
        return Waste(call.key, call.started_at, 0, nano, zones, 0, False, tariff.less(other))

    def recall(self, waste: Waste) -> None:
        """A claim on a prompt, a reply or a whole call that was made in another account."""
        claimed = self._claimed.setdefault(waste.key, _Claimed())
        claimed.spans = (*claimed.spans, *waste.spans)
        claimed.output += waste.zones[4] if waste.zones else 0
        claimed.nano += waste.nano
        claimed.whole |= waste.tariff is None

    def _of(self, call: Call) -> _Claimed:
        return self._claimed.get(call.key) or _Claimed()


def _without(taken: Sequence[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    """The parts of a span that nobody has taken."""
    free = [(begin, end)] if begin < end else []
    for left, right in taken:
        free = [
            part
            for begin, end in free
            for part in ((begin, min(end, left)), (max(begin, right), end))
            if part[0] < part[1]
        ]
    return free


def _add_zones(zones: list[int], call: Call, begin: int, end: int) -> None:
    """Split a span by what was paid: the prompt begins with what the cache had, then comes what was written to it."""
    at = 0
    for zone, size in ((1, call.read), (2, call.write_5m), (3, call.write_1h), (0, call.uncached)):
        zones[zone] += max(0, min(end, at + size) - max(begin, at))
        at += size
