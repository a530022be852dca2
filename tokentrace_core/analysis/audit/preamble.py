"""Sycophancy preamble: conversational filler before the answer, paid for as output tokens.

What filler is, `tokentrace_core.filler` defines. Its share of a reply is noted when the call is recorded, so it is known after the text has
gone; of calls that were recorded before that was so, it is read from the text. Wasted are that share of the tokens that were said (not those
that were thought), at the price of output.

One "Sure!" is no habit: an agent is reported when filler has cost it a number of tokens in a number of replies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import msgspec

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import Call, Trace
from tokentrace_core.analysis.audit.findings import Finding, Tally, plain
from tokentrace_core.filler import filler_length, text_of

#: A reply with less filler is let pass: "Sure!", "Thanks!" are two or three tokens.
LEAST_TOKENS = 8
#: An agent with fewer such replies has no habit of it.
LEAST_REPLIES = 3
_PPM = 1_000_000


def find(trace: Trace, account: Account) -> list[Finding]:
    tally = Tally("preamble")
    waiting: dict[tuple[str, str], list[tuple[Call, int]]] = defaultdict(list)
    habits = set()
    for call, ppm in with_filler(trace):
        tokens = (call.output - call.reasoning) * ppm // _PPM
        if tokens < LEAST_TOKENS:
            continue
        cause = call.who, call.model or ""
        waiting[cause].append((call, tokens))
        if cause in habits or len(waiting[cause]) >= LEAST_REPLIES:
            habits.add(cause)
            for reply, filler in waiting.pop(cause):
                tally.add(reply, cause, partial(_title, reply), [account.reply(reply, filler)])
    return tally.findings()


def _title(call: Call) -> str:
    return f"{plain(call.who)}: filler before the answer in {{times}} replies"


def with_filler(trace: Trace) -> Iterator[tuple[Call, int]]:
    """Calls whose reply begins with filler, and how much of it that is."""
    unread = "c.output_id is not null"
    if trace.has_column("llm_calls", "filler_ppm"):
        yield from trace.calls_and("c.filler_ppm", "c.filler_ppm > 0")
        unread += " and c.filler_ppm is null"
    known: dict[str, int] = {}
    for call, message_id in trace.calls_and("c.output_id", unread):
        if message_id not in known:
            known[message_id] = _ppm_of(trace, message_id)
        if known[message_id]:
            yield call, known[message_id]


def _ppm_of(trace: Trace, message_id: str) -> int:
    body, size = next(trace.rows("select body, bytes from messages where id = ?", [message_id]), (None, 0))
    if not body:
        return 0
    try:
        return filler_length(text_of(msgspec.json.decode(body))) * _PPM // max(size or 1, 1)
    except msgspec.DecodeError:
        return 0
