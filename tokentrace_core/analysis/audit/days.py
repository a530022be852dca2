"""What the looks of one day tell of it: made from its runs, and short enough to be written down or handed to another process."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from tokentrace_core.analysis.audit.called_again import CalledAgain
from tokentrace_core.analysis.audit.calls import Page
from tokentrace_core.analysis.audit.context_rot import ContextRot
from tokentrace_core.analysis.audit.expensive_model import ExpensiveModel
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.analysis.audit.oversized_result import OversizedResult
from tokentrace_core.analysis.audit.preamble import Preamble
from tokentrace_core.analysis.audit.sent_again import SentAgain, is_paid_anew
from tokentrace_core.analysis.audit.trace import Day
from tokentrace_core.analysis.audit.unused_tools import UnusedTools

#: Who looks at a run, in the order of `account.PRECEDENCE`.
LOOKS: tuple[type[Look[Any]], ...] = (
    CalledAgain,
    SentAgain,
    Preamble,
    OversizedResult,
    UnusedTools,
    ContextRot,
    ExpensiveModel,
)
#: Ids are most of it, and come again and again.
_QUICKLY = 1
_SUMS = "runs", "calls", "tokens", "nano_usd", "estimated_calls", "unpriced_calls", "unreadable_calls"
_BEGAN = attrgetter("started_at")


class Totals(Struct):
    """Of all calls that were looked at."""

    runs: int = 0
    """Also those that have nothing in the scope."""
    first: int | None = None
    last: int | None = None
    """When the first and the last of the calls began, in microseconds since the epoch."""
    calls: int = 0
    tokens: int = 0
    nano_usd: int = 0
    estimated_calls: int = 0
    unpriced_calls: int = 0
    unreadable_calls: int = 0

    def see(self, page: Page) -> None:
        self.runs += len(page)
        calls = page.calls
        self.calls += len(calls)
        self.tokens += sum([call.prompt + call.output for call in calls])
        self.nano_usd += sum([call.cost or 0 for call in calls])
        self.estimated_calls += sum([call.is_estimated for call in calls])
        self.unpriced_calls += [call.cost_status for call in calls].count("unpriced")
        self.unreadable_calls += sum(
            [call.prompt_id is None or call.run.expired is not None for call in calls]
        )
        self._reach([*map(_BEGAN, calls), *map(_BEGAN, page.tools)])

    def join(self, other: Totals) -> None:
        """Those of another day."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._reach([moment for moment in (other.first, other.last) if moment is not None])

    def _reach(self, moments: list[int]) -> None:
        if moments:
            ours = [moment for moment in (self.first, self.last) if moment is not None]
            self.first, self.last = min([*ours, min(moments)]), max([*ours, max(moments)])


Told = tuple[Any, ...]
"""The totals, then what each of `LOOKS` tells."""
Packed = bytes | Told
"""Written down; as it is only if there is a sum in it that 64 bits do not hold, as in a file that nobody recorded."""
_TELLS: Any = tuple.__class_getitem__((Totals, *(look.tells for look in LOOKS)))


def look_at(day: Day, case: Case, done: Callable[[int], None] = lambda _: None) -> Told:
    """What it tells. `done`: told how many runs have been looked at since it was told last."""
    case = case.of_its_own()
    totals, looks = Totals(), [look(case) for look in LOOKS]
    for page in case.trace.pages_of(day, wanted=is_paid_anew):
        totals.see(page)
        for look in looks:
            look.see(page)
        done(len(page))
    return totals, *(look.told() for look in looks)


def packed(told: Told) -> Packed:
    """To be kept, to be sent, or to wait: it takes a tenth of the room."""
    try:
        return zlib.compress(msgspec.msgpack.encode(told), _QUICKLY)
    except OverflowError:
        return told


def unpacked(told: Packed) -> Told:
    """Raises zlib.error, msgspec.MsgspecError or TypeError for what this version has not packed."""
    if isinstance(told, tuple):
        return told
    found: Told = msgspec.msgpack.decode(zlib.decompress(told), type=_TELLS)
    return found
