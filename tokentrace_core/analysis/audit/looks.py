"""What every kind of waste is asked: to look at each run once, and at some again once it has seen all.

Runs are looked at day by day, each day by looks of its own: what they tell of it can be written down (`days`). The looks of the
whole hear what those of the days tell, see again what they have to, and say what there was.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any, ClassVar, Generic, TypeVar

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.findings import Tally, Wasted
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.analysis.audit.trace import Trace

Told = TypeVar("Told")

_RUNS_OF = """
    select s.run_id from main.steps s where s.agent in (select value from json_each(:agents))
    union select r.id from main.runs r where r.name in (select value from json_each(:agents))
"""


class Case:
    """What all looks of one audit share."""

    def __init__(self, trace: Trace, account: Account, prompts: Prompts | None = None) -> None:
        self.trace, self.account, self.prompts = trace, account, prompts or Prompts(trace.reader)

    def of_its_own(self) -> Case:
        """For looks that claim in an account of their own."""
        return Case(self.trace, Account(self.account.rates), self.prompts)

    def runs_of(self, agents: Collection[str]) -> list[str]:
        """All runs in which one of these agents may have worked. An agent without a name is called as the run."""
        if not agents:
            return []
        found = self.trace.reader.execute(_RUNS_OF, {"agents": json.dumps(list(agents))})
        return [run_id for (run_id,) in found]


class Look(ABC, Generic[Told]):
    """Looks for one kind of waste, or for some that are seen at once. A look overrides what it needs."""

    tells: ClassVar[Any]
    """The type of what it tells."""

    def __init__(self, case: Case) -> None:
        self.case, self.account, self.prompts, self.tally = case, case.account, case.prompts, Tally()

    def see(self, page: Page) -> None:
        """All runs of a day, some at a time, in the order of time. Of calls paid anew (`sent_again`) with the prompts."""

    @abstractmethod
    def told(self) -> Told:
        """What it has learnt of what it saw."""

    @abstractmethod
    def hear(self, told: Told) -> None:
        """What a look of a later day has learnt."""

    def again(self) -> Iterable[str]:
        """Which runs it has to see again, with all their prompts, now that it has heard of all."""
        return ()

    def see_again(self, run: TracedRun) -> None:
        """One of these runs, or one that another look has asked for."""

    def wasted(self) -> list[Wasted]:
        """What there was."""
        return self.tally.told()


class SeesAtOnce(Look[list[Wasted]]):
    """A look that knows what is waste when it sees it."""

    tells = list[Wasted]

    def told(self) -> list[Wasted]:
        return self.tally.told()

    def hear(self, told: list[Wasted]) -> None:
        self.tally.hear(told)
