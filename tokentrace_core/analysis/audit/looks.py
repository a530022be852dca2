"""What every kind of waste is asked: to look at each run once, and at some again once it has seen all."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.findings import Finding
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.analysis.audit.trace import Trace

_RUNS_OF = """
    select s.run_id from main.steps s where s.agent in (select value from json_each(:agents))
    union select r.id from main.runs r where r.name in (select value from json_each(:agents))
"""


class Case:
    """What all looks of one audit share."""

    def __init__(self, trace: Trace, account: Account) -> None:
        self.trace, self.account, self.prompts = trace, account, Prompts(trace.reader)

    def runs_of(self, agents: Collection[str]) -> list[str]:
        """All runs in which one of these agents may have worked. An agent without a name is called as the run."""
        if not agents:
            return []
        found = self.trace.reader.execute(_RUNS_OF, {"agents": json.dumps(list(agents))})
        return [run_id for (run_id,) in found]


class Look(ABC):
    """Looks for one kind of waste, or for some that are seen at once. A look overrides what it needs."""

    def __init__(self, case: Case) -> None:
        self.case, self.account, self.prompts = case, case.account, case.prompts

    def see(self, page: Page) -> None:
        """All runs of the scope, some at a time, in the order of their ids. Of calls paid anew (`sent_again`) with the prompts."""

    def again(self) -> Iterable[str]:
        """Which runs it has to see again, with all their prompts, now that it has seen all."""
        return ()

    def see_again(self, run: TracedRun) -> None:
        """One of these runs, or one that another look has asked for."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What there was."""
