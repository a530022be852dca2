"""The recorded runs, one after the other, with what the changes need to know of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokentrace_core.analysis.audit.attempts import Asked, same_tools
from tokentrace_core.analysis.audit.calls import Key, TracedRun
from tokentrace_core.analysis.audit.preamble import Filler
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.analysis.audit.retry_storm import FAILED, call_storms, tool_storms
from tokentrace_core.analysis.audit.trace import Trace, has_prompt, no_prompts
from tokentrace_core.analysis.what_if.changes import Change, Model, NoPreamble, RetryCap
from tokentrace_core.analysis.what_if.prompt import pieces_of
from tokentrace_core.analysis.what_if.scenario import NOTHING, Needless, Recorded, RecordedRun
from tokentrace_core.store.pieces import Progress, Tell


def runs_of(trace: Trace, changes: Sequence[Change], tell: Tell) -> Iterator[RecordedRun]:
    """Every run of the scope that called a model."""
    prompts = Prompts(trace.reader)
    filler = Filler(prompts) if any(isinstance(change, NoPreamble) for change in changes) else None
    cap = next((change for change in changes if isinstance(change, RetryCap)), None)
    done, every = 0, len(trace)
    for page in trace.pages(wanted=has_prompt if reads_prompts(changes) else no_prompts):
        tell(Progress("repricing runs", done, max(every, done)))
        for run in page.runs():
            if run.calls:
                needless = _needless(run, cap.retries) if cap is not None else NOTHING
                yield _recorded(run, prompts, needless, filler)
        done += len(page)
    tell(Progress("repricing runs", done, max(every, done)))


def reads_prompts(changes: Sequence[Change]) -> bool:
    """Another model is sent the same prompts, whatever they are."""
    return not all(isinstance(change, Model) for change in changes)


def _recorded(run: TracedRun, prompts: Prompts, needless: Needless, filler: Filler | None) -> RecordedRun:
    recorded = []
    for call in run.calls:
        pieces = (
            pieces_of(call, call.leaf, prompts.tools_size(call.tools_id)) if call.leaf is not None else ()
        )
        recorded.append(Recorded(call, pieces, filler.ppm(call) if filler is not None else 0))
    of_answers = {
        each.call.prompt_id: each.filler for each in recorded if each.filler and each.call.prompt_id
    }
    return RecordedRun(recorded, needless, of_answers)


def _needless(run: TracedRun, retries: int) -> Needless:
    """The model calls of a run that are not made when nothing is retried more often.

    With fewer attempts the last allowed one would have been the one that succeeds: its message stays in later prompts.
    """
    calls, attempts = run.calls, retries + 1
    failed = [call.id for call in calls if call.status in FAILED]
    failed += [tool.id for tool in run.tools if tool.status in FAILED]
    if not failed:
        return NOTHING
    gone: set[Key] = set()
    answered: set[Key] = {call.key for call in calls}
    for series, asking in tool_storms(same_tools(run.tools, attempts + 1), Asked(run), attempts):
        gone |= {call.key for call in asking}
        answered -= {call.key for call in (asking if series[-1].status in FAILED else asking[:-1])}
    for attempted in call_storms(calls, attempts):
        gone |= {call.key for call in attempted[attempts:]}
    still = {call.prompt_id for call in calls if call.key in answered}
    in_vain = {call.prompt_id for call in calls if call.prompt_id and call.key not in answered}
    return Needless(frozenset(gone), frozenset(in_vain - still))
