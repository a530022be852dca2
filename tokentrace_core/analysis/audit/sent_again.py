"""What was sent again at the full price although the provider's cache could have had it: three findings, one look.

Sending the same again is how models work, and no waste: an agent resends its history at every step. It is waste where a cheaper price was
to be had: the model's provider reads from its cache for less, what was sent had been sent to the same model within the cache's
lifetime (`caching`), is long enough for the cache, and was paid as new all the same. What it would have cost: writing it once (where
that costs more than sending it), then reading it. So the saving of each further sending is the difference of the two prices, less
once the premium for writing.

Two things are recognised: a prefix (all messages up to one, also if the system prompt differs in nothing but figures), and a large message
behind another prefix, which would be cached if it stood in front. Who sent it before says which finding it is:

- another agent of the same run, or of the same session at the same time: fan-out duplication (`fan_out`);
- the same conversation: the history is sent without caching (`uncached_prefix`), or what stands before it has changed
  (`broken_cache`);
- another run: a file or block is fetched again (`refetch`), or, if all of it is system prompt and tools, the prompt of this agent is
  not cached (`uncached_prefix`).

Only calls are looked at that were paid 1,024 new tokens or more: in the others there is nothing to save.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from tokentrace_core.analysis.audit import broken_cache, fan_out, refetch, uncached_prefix
from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.caching import LIFETIME_US, rule_of
from tokentrace_core.analysis.audit.calls import FRESH, Call, Trace, batches
from tokentrace_core.analysis.audit.findings import Cause, Finding, Tally, Title
from tokentrace_core.analysis.audit.prompts import Node, Place, Prompts, upwards

#: Less sent again than this is let pass: no cache takes a block of less than 1,024 tokens.
LEAST_TOKENS = 1_024
#: Calls whose prompts are read with one query.
_CALLS = 2_000
#: Places that are remembered before those are forgotten that no cache would have any more.
_REMEMBERED = 50_000


class Chain:
    """The latest sending of a prefix, and what the cache would have of it."""

    __slots__ = ("at", "call", "written")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.at = call.started_at
        self.written = call.read + call.write_5m + call.write_1h
        """Tokens that the cache has been paid for, or would have been."""


class Sent(NamedTuple):
    """Where a prefix, or a block, was sent last."""

    chain: Chain
    node: Node
    tokens: int
    """Of the prompt up to here."""


class Seen:
    """What was sent lately, by model."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str | None, object], Sent] = {}

    def get(self, call: Call, what: object) -> Sent | None:
        """When this was sent, if a cache would still have it."""
        sent = self._sent.get((call.model, what))
        return sent if sent is not None and abs(call.started_at - sent.chain.at) <= LIFETIME_US else None

    def put(self, call: Call, what: object, sent: Sent) -> None:
        self._sent[call.model, what] = sent

    def forget_before(self, at: int) -> None:
        """No later run can read what was sent so long before it."""
        if len(self._sent) > _REMEMBERED:
            self._sent = {key: sent for key, sent in self._sent.items() if sent.chain.at >= at - LIFETIME_US}


def find(trace: Trace, account: Account) -> list[Finding]:
    tallies = {kind: Tally(kind) for kind in ("fan_out", "refetch", "broken_cache", "uncached_prefix")}
    seen, prompts = Seen(), Prompts(trace)
    for calls in batches(trace.calls(f"{FRESH} >= {LEAST_TOKENS} and c.prompt_id is not null"), _CALLS):
        nodes = prompts.of(calls)
        seen.forget_before(calls[0].started_at)
        for call in calls:
            _look(call, nodes.get(call.prompt_id or ""), prompts, seen, account, tallies)
    return [finding for tally in tallies.values() for finding in tally.findings()]


def _look(
    call: Call, leaf: Node | None, prompts: Prompts, seen: Seen, account: Account, tallies: dict[str, Tally]
) -> None:
    tariff = account.rates.of(call)
    if leaf is None or tariff is None or not tariff.caches:
        return
    place = Place(call, leaf, prompts.tools_size(call.tools_id))
    known, new = _split(call, leaf, seen)
    begin = 0
    chain = Chain(call)
    if known is not None:
        node, sent = known
        begin = min(call.prompt, sent.tokens if sent.node.id == node.id else place.tokens(node.ends))
        _claim_prefix(call, node, begin, sent, prompts, account, tallies)
        chain = _goes_on(call, chain, sent, begin)
        seen.put(call, node.shape, Sent(chain, node, begin))
    for node in reversed(new):
        block = place.tokens(node.ends) - place.tokens(node.begins)
        if block >= LEAST_TOKENS:
            sent_block = seen.get(call, node.message_id)
            if sent_block is not None and sent_block.chain.call.key != call.key:
                _claim_block(call, node, place, sent_block, prompts, account, tallies)
                premium_paid = Chain(call)
                premium_paid.written = max(block, sent_block.chain.written)
                seen.put(call, node.message_id, Sent(premium_paid, node, block))
            else:
                seen.put(call, node.message_id, Sent(Chain(call), node, block))
        seen.put(call, node.shape, Sent(chain, node, place.tokens(node.ends)))


def _split(call: Call, leaf: Node, seen: Seen) -> tuple[tuple[Node, Sent] | None, list[Node]]:
    """The last message up to which all was sent lately, and the messages behind it, last to first."""
    new: list[Node] = []
    for node in upwards(leaf):
        sent = seen.get(call, node.shape)
        if sent is not None:
            return (node, sent), new
        new.append(node)
    return None, new


def _goes_on(call: Call, chain: Chain, sent: Sent, known: int) -> Chain:
    """The cache keeps what is used: the same chain goes on, with what this call adds."""
    chain.written = max(chain.written, sent.chain.written, known)
    sent.chain.at = max(sent.chain.at, call.started_at)
    sent.chain.written = max(sent.chain.written, min(known, chain.written))
    return chain


def _claim_prefix(
    call: Call,
    node: Node,
    known: int,
    sent: Sent,
    prompts: Prompts,
    account: Account,
    tallies: dict[str, Tally],
) -> None:
    kind, block = _kind_of_prefix(call, node, sent)
    if kind == "broken_cache":
        known -= known * broken_cache.changed_bytes(node, sent.node, prompts) // (node.ends or 1)
    cacheable = rule_of(call.answered or call.model).cacheable(known)
    if cacheable - call.read < LEAST_TOKENS or (
        kind == "uncached_prefix" and not uncached_prefix.can_be_mended(call)
    ):
        return
    premium = max(0, cacheable - max(sent.chain.written, call.read))
    waste = account.prompt(call, call.read, cacheable, cached=True, premium=premium)
    if waste is None:
        return
    titles: dict[str, tuple[Cause, Title]] = {
        "broken_cache": (
            broken_cache.cause(call, "changed"),
            partial(broken_cache.changed, call, node, sent.node, prompts),
        ),
        "fan_out": (fan_out.cause(call), partial(fan_out.title, call)),
        "refetch": (refetch.cause(call), partial(refetch.title, call, block or node, prompts)),
        "uncached_prefix": (uncached_prefix.cause(call), partial(uncached_prefix.title, call)),
    }
    tallies[kind].add(call, *titles[kind], [waste])


def _kind_of_prefix(call: Call, node: Node, sent: Sent) -> tuple[str, Node | None]:
    """Which finding it is that this prefix was paid again, and the block that was fetched, if it is that."""
    if sent.node.id != node.id:
        return "broken_cache", None
    if fan_out.are_siblings(sent.chain.call, call):
        return "fan_out", None
    goes_on = sent.chain.call.prompt_id == sent.node.id != call.prompt_id
    block = None if goes_on else refetch.fetched(node)
    return ("uncached_prefix" if block is None else "refetch"), block


def _claim_block(
    call: Call,
    node: Node,
    place: Place,
    sent: Sent,
    prompts: Prompts,
    account: Account,
    tallies: dict[str, Tally],
) -> None:
    begin, end = place.tokens(node.begins), place.tokens(node.ends)
    premium = 0 if sent.chain.written >= end - begin else end - begin
    waste = account.prompt(call, max(begin, call.read), end, cached=True, premium=premium)
    if waste is None:
        return
    if fan_out.are_siblings(sent.chain.call, call):
        tallies["fan_out"].add(call, fan_out.cause(call), partial(fan_out.title, call), [waste])
    elif sent.chain.call.run_id == call.run_id and sent.chain.call.talk == call.talk:
        title = partial(broken_cache.moved, call, node)
        tallies["broken_cache"].add(call, broken_cache.cause(call, "moved"), title, [waste])
    else:
        title = partial(refetch.title, call, node, prompts)
        tallies["refetch"].add(call, refetch.cause(call), title, [waste])
