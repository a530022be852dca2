"""Kinds of runs: what a digest tells apart, which is all that can be asked of runs but whose they are.

Nothing of a user, a session or a single run is in a kind; few of them make up most files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

from tokentrace_core.analysis.dimensions import NONE, OF_RUN, TAG
from tokentrace_core.analysis.synopses import Facts
from tokentrace_core.store.digest_table import day_of

_WHOSE = ("user", "session", "run")
OF_KIND = tuple(name for name in OF_RUN if name not in _WHOSE)
#: SQL over a run (r): the facts of its kind, then the day on which it began.
COLUMNS = (*(OF_RUN[name] for name in OF_KIND), "r.tags")
DAY = day_of("r.started_at")
_PLACES = {name: place for place, name in enumerate((*OF_KIND, TAG))}


def picked(names: Iterable[str]) -> Callable[[Facts], Facts]:
    """The facts of a kind that are of these dimensions, in their order; of tags, the column as it is."""
    places = [_PLACES[name] for name in names]
    if len(places) == 1:
        [place] = places
        return lambda facts: (facts[place],)
    return itemgetter(*places) if places else lambda _: ()


def taken(where: Mapping[str, tuple[str, ...]]) -> Callable[[Facts], bool]:
    """Whether a kind has the values that a scope's runs must have."""
    wanted = [(_PLACES[name], frozenset(where[name])) for name in OF_KIND if name in where]
    tags = frozenset(where[TAG]) if TAG in where else None

    def takes(facts: Facts) -> bool:
        return all(facts[place] in values for place, values in wanted) and (
            tags is None or not tags.isdisjoint(json.loads(facts[_PLACES[TAG]] or "[]"))
        )

    return takes


def tags_of(column: str | None) -> list[str]:
    """Each tag once; "(none)" if there is none."""
    return list(dict.fromkeys(json.loads(column or "[]"))) or [NONE]
