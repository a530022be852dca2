"""What is planted, as an account: per kind the tokens, the nano-dollars and the calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tokentrace_core.cli.demo.month.stage import Bill, Key

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
    "broken_cache": ("code-reviewer", "from the 15th day the time of day is at the top of the system prompt"),
    "loop": ("support", "shipment_status is asked for six times or more, and says the same"),
    "context_rot": ("nightly-report", "the notes of all nights before are in the prompt"),
    "oversized_result": ("support", "order_lookup returns the whole history, which every later turn resends"),
    "unused_tools": ("docs", "24 tools are offered with every request, and none is ever called"),
    "expensive_model": ("classifier", "gpt-4o is asked for one word"),
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
        return self.tokens / self.total_tokens if self.total_tokens else 0.0

    @property
    def dollar_share(self) -> float:
        return self.nano_usd / self.total_nano_usd if self.total_nano_usd else 0.0

    @property
    def tokens_after(self) -> int:
        """What is left to pay for when all of it is mended."""
        return self.total_tokens - self.tokens


Bills = Mapping[Key, Bill]


class Difference(NamedTuple):
    """Between a call as it was told and as a well kept agent would make it, as far as one kind of waste goes."""

    kind: str
    tokens: int
    still_sent: int
    nano_usd: int
    ids: tuple[str, str] | None


def account(told: Bills, mended: Bills, plant: frozenset[str]) -> Planted:
    """Compare each call with its like in the well kept month."""
    found: dict[str, list[Difference]] = {kind: [] for kind in sorted(plant)}
    for key, bill in told.items():
        for difference in _differences(bill, mended.get(key)):
            found[difference.kind].append(difference)
    return Planted(
        {kind: _place(kind, differences) for kind, differences in found.items()},
        sum(bill.usage.total_tokens for bill in told.values()),
        sum(bill.nano_usd for bill in told.values()),
    )


def _differences(bill: Bill, mended: Bill | None) -> Iterator[Difference]:
    """In what was sent, by the kind that is planted there; in what was said, which only a preamble makes longer."""
    if mended is None:
        if bill.kind:  # else it broke off, in both months: only the recorder knows its estimate
            yield Difference(bill.kind, bill.usage.total_tokens, 0, bill.nano_usd, bill.ids)
        return
    said = bill.usage.output_tokens - mended.usage.output_tokens
    for_said = bill.nano_usd_of_output - mended.nano_usd_of_output if said else 0
    if said:
        yield Difference("preamble", said, 0, for_said, bill.ids)
    sent = bill.usage.input_tokens - mended.usage.input_tokens
    nano = bill.nano_usd - mended.nano_usd - for_said
    if bill.kind and (sent or nano):
        read = max(mended.usage.cache_read_tokens - bill.usage.cache_read_tokens, 0)
        yield Difference(bill.kind, sent + read, read, nano, bill.ids)


def _place(kind: str, differences: list[Difference]) -> Place:
    agent, what = KINDS[kind]
    return Place(
        kind=kind,
        agent=agent,
        what=what,
        tokens=sum(difference.tokens for difference in differences),
        still_sent=sum(difference.still_sent for difference in differences),
        nano_usd=sum(difference.nano_usd for difference in differences),
        calls=tuple(each.ids for each in differences if each.ids and each.nano_usd > 0),
    )
