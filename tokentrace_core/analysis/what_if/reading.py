"""The recorded runs, one after the other, with what the changes need to know of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tokentrace_core.analysis.audit.attempts import Asked
from tokentrace_core.analysis.audit.calls import Call, Key, Trace
from tokentrace_core.analysis.audit.preamble import LEAST_TOKENS, with_filler
from tokentrace_core.analysis.audit.prompts import Prompts
from tokentrace_core.analysis.audit.retry_storm import call_storms, tool_storms
from tokentrace_core.analysis.what_if.changes import Change, Model, NoPreamble, RetryCap
from tokentrace_core.analysis.what_if.prompt import pieces_of
from tokentrace_core.analysis.what_if.scenario import NOTHING, Needless, Recorded, RecordedRun

_PPM = 1_000_000
_FAILED = "status in ('failure', 'timeout')"


def runs_of(trace: Trace, changes: Sequence[Change]) -> Iterator[RecordedRun]:
    """Every run of the scope that called a model."""
    filler = _filler(trace) if any(isinstance(change, NoPreamble) for change in changes) else {}
    cap = next((change for change in changes if isinstance(change, RetryCap)), None)
    stormy = _with_failures(trace) if cap is not None else frozenset()
    prompts = None if all(isinstance(change, Model) for change in changes) else Prompts(trace)
    for run_id, group in groupby(trace.calls(), key=lambda call: call.run_id):
        calls = list(group)
        needless = _needless(trace, calls, cap.retries) if cap is not None and run_id in stormy else NOTHING
        yield _recorded(calls, prompts, needless, filler)


def _recorded(
    calls: list[Call], prompts: Prompts | None, needless: Needless, filler: dict[Key, int]
) -> RecordedRun:
    nodes = prompts.of(calls) if prompts is not None else {}
    recorded = []
    for call in calls:
        leaf = nodes.get(call.prompt_id or "")
        tools = prompts.tools_size(call.tools_id) if prompts is not None else 0
        pieces = pieces_of(call, leaf, tools) if leaf is not None else ()
        recorded.append(Recorded(call, pieces, filler.get(call.key, 0)))
    of_answers = {
        each.call.prompt_id: each.filler for each in recorded if each.filler and each.call.prompt_id
    }
    return RecordedRun(recorded, needless, of_answers)


def _filler(trace: Trace) -> dict[Key, int]:
    """Replies with filler that is worth a word: millionths of what was said."""
    return {
        call.key: ppm
        for call, ppm in with_filler(trace)
        if (call.output - call.reasoning) * ppm // _PPM >= LEAST_TOKENS
    }


def _with_failures(trace: Trace) -> frozenset[str]:
    """The runs in which there can be something to retry."""
    return frozenset(
        [
            *trace.runs_with("tools", f"t.{_FAILED}"),
            *trace.runs_with("calls", f"c.{_FAILED} and c.prompt_id is not null"),
        ]
    )


def _needless(trace: Trace, calls: list[Call], retries: int) -> Needless:
    """The model calls of a run that are not made when nothing is retried more often.

    With fewer attempts the last allowed one would have been the one that succeeds: its message stays in later prompts.
    """
    tools, attempts = trace.tools_of(calls[0].run_id), retries + 1
    gone: set[Key] = set()
    answered: set[Key] = {call.key for call in calls}
    for series, asking in tool_storms(Asked(calls, tools), tools, attempts):
        gone |= {call.key for call in asking}
        answered -= {
            call.key for call in (asking if series[-1].status in ("failure", "timeout") else asking[:-1])
        }
    for attempted in call_storms(calls, attempts):
        gone |= {call.key for call in attempted[attempts:]}
    still = {call.prompt_id for call in calls if call.key in answered}
    in_vain = {call.prompt_id for call in calls if call.prompt_id and call.key not in answered}
    return Needless(frozenset(gone), frozenset(in_vain - still))
