"""What was called again although the answer could be known: retry storms and loops, in one look at each run."""

from __future__ import annotations

from collections import Counter

from tokentrace_core.analysis.audit import loop, retry_storm
from tokentrace_core.analysis.audit.attempts import LEAST, Asked, same_tools
from tokentrace_core.analysis.audit.calls import Page, TracedRun
from tokentrace_core.analysis.audit.looks import Case, SeesAtOnce
from tokentrace_core.analysis.audit.results import Results


class CalledAgain(SeesAtOnce):
    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._results = Results(case.trace.reader)

    def see(self, page: Page) -> None:
        for run in page.runs(_suspects(page)):
            self._look(run)

    def _look(self, run: TracedRun) -> None:
        alike = list(same_tools(run.tools))
        asked = Asked(run) if alike else None
        if asked is not None:
            retry_storm.look_at_tools(alike, asked, self.account, self.tally)
        retry_storm.look_at_prompts(run.calls, self.account, self.tally)
        if asked is not None:
            loop.look(alike, asked, self._results, self.account, self.tally)


def _suspects(page: Page) -> set[int]:
    """The places of runs in which a tool call came three times, or three calls failed."""
    tools = Counter([(tool.place, tool.name, tool.arguments_hash) for tool in page.tools])
    failed = Counter([call.place for call in page.calls if call.status in retry_storm.FAILED])
    return {same[0] for same, times in tools.items() if times >= LEAST} | {
        place for place, times in failed.items() if times >= LEAST
    }
