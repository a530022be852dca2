"""What a call will use, before it is made: a guess, taken twice with different care.

To *refuse* a call only what is `sure` counts: its prompt (as if all that was sent before came from the cache) and
the shortest reply this run has seen. To *set aside* for it, what is `expected`: the full prompt and a usual reply. So
a limit is never exceeded by more than the guess about the calls in flight is wrong, and no call is refused for a long
answer that it would not have given.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct

from tokentrace_core.pricing import EXPECTED_REPLY_TOKENS, PriceBook, estimate_tokens, to_nano
from tokentrace_core.shield import log_once
from tokentrace_core.usage import Usage

OnUnpriced = Literal["assume", "block", "allow"]

#: Hardly any text has fewer tokens than this many bytes each.
_MOST_BYTES_PER_TOKEN = 6


class Request(NamedTuple):
    """What is known of a call before it is sent."""

    model: str | None
    provider: str | None
    sent_tokens: int
    """Prompt tokens that this agent has sent before: what a provider's cache may hold."""
    new_bytes: int
    """UTF-8 bytes of what it has not sent before."""
    max_tokens: int | None
    steps: int
    """Steps the run will have with this call."""


class Amount(NamedTuple):
    """Of each limit's unit, what a call takes."""

    nano_usd: int
    tokens: int


class _Rates(NamedTuple):
    """Nano-dollars per token, for estimates only: without tiers."""

    input: float
    cache_read: float
    output: float


class _Replies(Struct):
    """How long this run's replies from one model have been, in tokens."""

    count: int = 0
    total: int = 0
    shortest: int = 0

    def add(self, tokens: int) -> None:
        self.shortest = min(self.shortest, tokens) if self.count else tokens
        self.count += 1
        self.total += tokens


class Forecast:
    """What one run's calls will use, by what its calls so far have. Not locked.

    `reply_tokens`: how long a reply is taken to be at least as long as none is known.
    """

    def __init__(self, prices: PriceBook, on_unpriced: OnUnpriced, reply_tokens: int | None) -> None:
        self._prices = prices
        self._on_unpriced = on_unpriced
        self._reply_tokens = reply_tokens
        self._replies: dict[str | None, _Replies] = {}
        self._rates: dict[tuple[str | None, str | None], _Rates | None] = {}

    def learn(self, model: str | None, usage: Usage) -> None:
        """A reply came, of this length."""
        self._replies.setdefault(model, _Replies()).add(usage.output_tokens)

    def knows_price(self, request: Request) -> bool:
        """Whether there is a price to reckon with: the model's own, or the one that is assumed."""
        return self._rates_of(request) is not None

    def sure(self, request: Request) -> Amount:
        """What the call uses at the very least."""
        new = request.new_bytes // _MOST_BYTES_PER_TOKEN
        replies = self._replies.get(request.model)
        reply = replies.shortest if replies else self._reply_tokens or 0
        rates = self._rates_of(request)
        nano = (
            0
            if rates is None
            else new * rates.input + request.sent_tokens * rates.cache_read + reply * rates.output
        )
        return Amount(int(nano), new + request.sent_tokens + reply)

    def expected(self, request: Request) -> Amount:
        """What the call will probably use."""
        prompt, reply = request.sent_tokens + estimate_tokens(request.new_bytes), self._usual_reply(request)
        rates = self._rates_of(request)
        nano = 0 if rates is None else prompt * rates.input + reply * rates.output
        return Amount(int(nano), int(prompt + reply))

    def assumed_nano(self, provider: str | None, usage: Usage) -> int:
        """What a call is taken to have cost whose model has no price; 0 if none is assumed."""
        if self._on_unpriced != "assume":
            return 0
        return to_nano(self._prices.dearest(provider).dollars(usage))

    def _usual_reply(self, request: Request) -> float:
        replies = self._replies.get(request.model)
        if replies is not None:
            return replies.total / replies.count
        usual = self._reply_tokens or EXPECTED_REPLY_TOKENS
        return min(usual, request.max_tokens or usual)

    def _rates_of(self, request: Request) -> _Rates | None:
        """Rates of the model; the assumed ones, or None, if it has no price."""
        key = (request.model, request.provider)
        if key not in self._rates:
            self._rates[key] = self._look_up(request)
        return self._rates[key]

    def _look_up(self, request: Request) -> _Rates | None:
        amounts = [self._price(request, probe) for probe in _PROBES]
        if None in amounts:
            if self._on_unpriced != "assume":
                return None
            amounts = [to_nano(self._prices.dearest(request.provider).dollars(probe)) for probe in _PROBES]
        return _Rates(*((amount or 0) / 1_000 for amount in amounts))

    def _price(self, request: Request, probe: Usage) -> int | None:
        try:
            return self._prices.price(request.model, probe, provider=request.provider).nano_usd
        except Exception as error:
            log_once("a call could not be priced", error)
            return None


_PROBES = (
    Usage(input_uncached_tokens=1_000),
    Usage(cache_read_tokens=1_000),
    Usage(output_tokens=1_000),
)
