"""What is planted, as an account: per kind the tokens, the nano-dollars and the calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tokentrace_core.cli.demo.month.stage import Bill

#: What each kind is, in words, and whose agent has it.
KINDS: dict[str, tuple[str, str]] = {
    "retry_storm": (
        "support",
        "order_lookup answers 429 and is asked for up to eight times, the whole prompt each time",
    ),
    "refetch": ("code-reviewer", "CLAUDE.md and OWNERS.md are read and sent again in each turn of a session"),
    "fan_out": ("code-reviewer", "three parallel sub-agents each get the whole diff"),
    "preamble": (
        "support, docs, code-reviewer",
        "120 tokens of politeness before the answer, in 40 % of the interactions",
    ),
}
#: The audit case of requirement S126.
AUDIT = frozenset({"retry_storm", "refetch", "fan_out", "preamble"})


class Place(NamedTuple):
    """What one kind of waste costs in a month."""

    kind: str
    agent: str
    what: str
    tokens: int
    """Billed and needless."""
    still_sent: int
    """The part of them that is sent after the fix, too, but comes from the cache."""
    nano_usd: int
    """What was paid less what is paid after the fix."""
    calls: tuple[tuple[str, str], ...]
    """Run and call of each model call that wastes."""


class Planted(NamedTuple):
    """The account of a month."""

    places: dict[str, Place]
    total_tokens: int
    """In and out, what came from a cache included."""
    total_nano_usd: int

    @property
    def tokens(self) -> int:
        return sum(place.tokens for place in self.places.values())

    @property
    def nano_usd(self) -> int:
        return sum(place.nano_usd for place in self.places.values())

    @property
    def token_share(self) -> float:
        return self.tokens / self.total_tokens

    @property
    def dollar_share(self) -> float:
        return self.nano_usd / self.total_nano_usd

    @property
    def tokens_after(self) -> int:
        """What is left to pay for when all of it is mended."""
        return self.total_tokens - self.tokens


Bills = Mapping[tuple[str, int, str], Bill]


def account(told: Bills, mended: Bills, plant: frozenset[str]) -> Planted:
    """Compare each call with its like in the well kept month."""
    wasted: dict[str, list[tuple[Bill, Difference]]] = {kind: [] for kind in sorted(plant)}
    for key, bill in told.items():
        difference = _difference(bill, mended.get(key))
        if difference is not None and bill.kind is not None:
            wasted[bill.kind].append((bill, difference))
    places = {kind: _place(kind, found) for kind, found in wasted.items()}
    return Planted(
        places,
        sum(bill.usage.total_tokens for bill in told.values()),
        sum(bill.nano_usd for bill in told.values()),
    )


class Difference(NamedTuple):
    """Between a call as it was told and as a well kept agent would make it."""

    tokens: int
    still_sent: int
    nano_usd: int


def _difference(bill: Bill, mended: Bill | None) -> Difference | None:
    if mended is None:
        # Without a kind it is one that broke off, whose estimate only the recorder knows: the same in both months.
        return Difference(bill.usage.total_tokens, 0, bill.nano_usd) if bill.kind else None
    if bill.usage == mended.usage:
        return None
    read = mended.usage.cache_read_tokens - bill.usage.cache_read_tokens
    return Difference(
        bill.usage.total_tokens - mended.usage.total_tokens + read, read, bill.nano_usd - mended.nano_usd
    )


def _place(kind: str, found: list[tuple[Bill, Difference]]) -> Place:
    agent, what = KINDS[kind]
    return Place(
        kind=kind,
        agent=agent,
        what=what,
        tokens=sum(difference.tokens for _, difference in found),
        still_sent=sum(difference.still_sent for _, difference in found),
        nano_usd=sum(difference.nano_usd for _, difference in found),
        calls=tuple(bill.ids for bill, difference in found if bill.ids and difference.nano_usd > 0),
    )
