"""Why a period cost more than another: the difference, split to the nano-dollar, and the place where it was made.

    from tokentrace_core.analysis.why import why
    print(why("traces.db", before, after).headline)        # two `Scope`s

The difference is divided among what can change a bill (`effects`), exactly and without regard to any order (`apportion`). It
is done place by place (`cells`), so that more runs of a dear kind are not taken for dearer runs, and a longer loop not for a longer
prompt. Where an effect is found, `causes` says what it is a sign of and `evidence` who did it.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from tokentrace_core.analysis.scope import Scope
from tokentrace_core.analysis.why.explain import explain
from tokentrace_core.analysis.why.explanation import Cause, Change, Effect, Explanation, Summary
from tokentrace_core.analysis.why.facts import Period
from tokentrace_core.pricing import PriceBook
from tokentrace_core.store.reader import Reader

__all__ = ["Cause", "Change", "Effect", "Explanation", "Summary", "why"]


def why(
    source: Reader | Path | str,
    before: Scope,
    after: Scope,
    *,
    names: tuple[str, str] = ("before", "after"),
    book: PriceBook | None = None,
) -> Explanation:
    """Explain what the runs of `after` cost more, or less, than those of `before`.

    A run belongs to the time in which it began, with all its calls. `names`: what the two are called in sentences. `book`: prices
    to recognise what was charged with; by default the same as for recording.
    """
    opened = nullcontext(source) if isinstance(source, Reader) else Reader(source)
    with opened as reader:
        return explain(reader, Period(names[0], before), Period(names[1], after), book=book)
