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

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from tokentrace_core.analysis.audit import broken_cache, fan_out, refetch, uncached_prefix
from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.caching import LIFETIME_US, rule_of
from tokentrace_core.analysis.audit.calls import Call, Page
from tokentrace_core.analysis.audit.findings import Cause, Tally, Title
from tokentrace_core.analysis.audit.looks import Case, SeesAtOnce
from tokentrace_core.analysis.audit.nodes import Node, Place
from tokentrace_core.analysis.audit.prompts import Prompts

#: Less sent again than this is let pass: no cache takes a block of less than 1,024 tokens.
LEAST_TOKENS = 1_024
#: Places that are remembered before those are forgotten that no cache would have any more.
_REMEMBERED = 5_000


def is_paid_anew(call: Call) -> bool:
    """Whether there is something to save: enough of the prompt was not read from the cache."""
    return call.uncached + call.write_5m + call.write_1h >= LEAST_TOKENS


class Chain(Struct, eq=False, gc=False):
    """The latest sending of a prefix, and what the cache would have of it."""

    call: Call
    at: int
    written: int
    """Tokens that the cache has been paid for, or would have been."""

    @classmethod
    def of(cls, call: Call) -> Chain:
        return cls(call, call.started_at, call.read + call.write_5m + call.write_1h)


class Sent(Struct, eq=False, gc=False):
    """Where a prefix, or a block, was sent last."""

    chain: Chain
    node: Node
    tokens: int
    """Of the prompt up to here."""


class Lately(dict[object, Sent]):
    """What was sent to one model: prefixes by their shape, blocks by their message."""

    _most = _REMEMBERED

    def forget_before(self, at: int) -> None:
        """No later run can read what was sent so long before it."""
        if len(self) > self._most:
            for what in [what for what, sent in self.items() if sent.chain.at < at - 2 * LIFETIME_US]:
                del self[what]
            self._most = max(_REMEMBERED, 2 * len(self))


def _sent_lately(lately: Lately, what: object, now: int) -> Sent | None:
    """When this was sent, if a cache would still have it."""
    sent = lately.get(what)
    return sent if sent is not None and abs(now - sent.chain.at) <= LIFETIME_US else None


class SentAgain(SeesAtOnce):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._sent: dict[str | None, Lately] = defaultdict(Lately)

    def see(self, page: Page) -> None:
        if page.calls:
            for lately in self._sent.values():
                lately.forget_before(page.calls[0].started_at)
        for call in page.calls:
            if call.leaf is None or not is_paid_anew(call):
                continue
            tariff = self.account.rates.of(call)
            if tariff is not None and tariff.caches:
                _look(call, call.leaf, self._sent[call.model], self.prompts, self.account, self.tally)


def _look(call: Call, leaf: Node, lately: Lately, prompts: Prompts, account: Account, tally: Tally) -> None:
    place = Place(call.prompt, leaf, prompts.tools_size(call.tools_id))
    known, new = _split(call, leaf, lately)
    begin = 0
    chain = Chain.of(call)
    if known is not None:
        node, sent = known
        begin = min(call.prompt, sent.tokens if sent.node.id == node.id else place.tokens(node.ends))
        _claim_prefix(call, node, begin, sent, prompts, account, tally)
        _go_on(call, chain, sent, begin)
        lately[node.shape] = Sent(chain, node, begin)
    for node in reversed(new):
        ends = place.tokens(node.ends)
        block = ends - place.tokens(node.begins)
        if block >= LEAST_TOKENS:
            paid = Chain.of(call)
            sent_block = _sent_lately(lately, node.message_id, call.started_at)
            if sent_block is not None and sent_block.chain.call is not call:
                _claim_block(call, node, place, sent_block, prompts, account, tally)
                paid.written = max(block, sent_block.chain.written)
            lately[node.message_id] = Sent(paid, node, block)
        lately[node.shape] = Sent(chain, node, ends)


def _split(call: Call, leaf: Node, lately: Lately) -> tuple[tuple[Node, Sent] | None, list[Node]]:
    """The last message up to which all was sent lately, and the messages behind it, last to first."""
    new: list[Node] = []
    node: Node | None = leaf
    while node is not None:
        sent = _sent_lately(lately, node.shape, call.started_at)
        if sent is not None:
            return (node, sent), new
        new.append(node)
        node = node.parent
    return None, new


def _go_on(call: Call, chain: Chain, sent: Sent, known: int) -> None:
    """The cache keeps what is used: the same chain goes on, with what this call adds."""
    chain.written = max(chain.written, sent.chain.written, known)
    sent.chain.at = max(sent.chain.at, call.started_at)
    sent.chain.written = max(sent.chain.written, min(known, chain.written))


def _claim_prefix(
    call: Call,
    node: Node,
    known: int,
    sent: Sent,
    prompts: Prompts,
    account: Account,
    tally: Tally,
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
    cause: Cause
    title: Callable[[], Title]
    if kind == "broken_cache":
        cause, title = (
            broken_cache.cause(call, "changed"),
            partial(broken_cache.changed, call, node, sent.node),
        )
    elif kind == "fan_out":
        cause, title = fan_out.cause(call), partial(fan_out.title, call)
    elif kind == "refetch":
        cause, title = refetch.cause(call), partial(refetch.title, call, block or node)
    else:
        cause, title = uncached_prefix.cause(call), partial(uncached_prefix.title, call)
    tally.add(kind, call, cause, title, [waste])


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
    tally: Tally,
) -> None:
    begin, end = place.tokens(node.begins), place.tokens(node.ends)
    premium = 0 if sent.chain.written >= end - begin else end - begin
    waste = account.prompt(call, max(begin, call.read), end, cached=True, premium=premium)
    if waste is None:
        return
    if fan_out.are_siblings(sent.chain.call, call):
        tally.add("fan_out", call, fan_out.cause(call), partial(fan_out.title, call), [waste])
    elif sent.chain.call.run.id == call.run.id and sent.chain.call.talk == call.talk:
        title = partial(broken_cache.moved, call, node)
        tally.add("broken_cache", call, broken_cache.cause(call, "moved"), title, [waste])
    else:
        title = partial(refetch.title, call, node)
        tally.add("refetch", call, refetch.cause(call), title, [waste])
