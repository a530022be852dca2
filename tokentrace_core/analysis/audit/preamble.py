"""Sycophancy preamble: conversational filler before the answer, paid for as output tokens.

What filler is, `tokentrace_core.filler` defines. Its share of a reply is noted when the call is recorded, so it is known after the text has
gone; of calls that were recorded before that was so, it is read from the text. Wasted are that share of the tokens that were said (not those
that were thought), at the price of output.

One "Sure!" is no habit: an agent is reported when filler has cost it a number of tokens in a number of replies.
"""

from __future__ import annotations

from functools import partial

import msgspec

from tokentrace_core.analysis.audit.calls import Call, Page
from tokentrace_core.analysis.audit.findings import Title, Wasted, plain
from tokentrace_core.analysis.audit.looks import Case, SeesAtOnce
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.filler import filler_length, text_of

KIND = "preamble"
#: A reply with less filler is let pass: "Sure!", "Thanks!" are two or three tokens.
LEAST_TOKENS = 8
#: An agent with fewer such replies has no habit of it.
LEAST_REPLIES = 3
_PPM = 1_000_000
#: Texts of which it is remembered.
_REMEMBERED = 100_000


class Preamble(SeesAtOnce):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._filler = Filler(case.prompts)

    def see(self, page: Page) -> None:
        for call in page.calls:
            if call.filler_ppm == 0:
                continue
            tokens = self._filler.tokens(call)
            if tokens:
                cause, waste = (call.who, call.model or ""), self.account.reply(call, tokens)
                self.tally.add(KIND, call, cause, partial(_title, call), [waste])

    def wasted(self) -> list[Wasted]:
        return [habit for habit in super().wasted() if habit.times >= LEAST_REPLIES]


def _title(call: Call) -> Title:
    return Title(f"{plain(call.who)}: filler before the answer in {{times}} replies")


class Filler:
    """How much of a reply is filler."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._known: dict[str, int] = {}

    def ppm(self, call: Call) -> int:
        """Millionths of the reply; 0: none that is worth a word."""
        ppm = self._ppm(call)
        return ppm if (call.output - call.reasoning) * ppm // _PPM >= LEAST_TOKENS else 0

    def tokens(self, call: Call) -> int:
        return (call.output - call.reasoning) * self.ppm(call) // _PPM

    def _ppm(self, call: Call) -> int:
        """As it was noted; of a file of an earlier version as the text says."""
        if call.filler_ppm is not None or call.reply_id is None:
            return call.filler_ppm or 0
        known = self._known.get(call.reply_id)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[call.reply_id] = _ppm_of(*self._prompts.message(call.reply_id))
        return known


def _ppm_of(body: str, size: int) -> int:
    try:
        return filler_length(text_of(msgspec.json.decode(body))) * _PPM // max(size, 1)
    except msgspec.DecodeError:
        return 0
