"""The order in which events were emitted, told from what each says of the others.

An event follows the one before it in its context, its parent and its start. Beyond that its time decides, then the
sequence, which CrewAI counts in each context anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from typing import Any


def in_order(events: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Events, each with its source, in the order in which they were emitted, whatever order they come in."""
    by_id = {event.event_id: (source, event) for source, event in events}
    waiting = TopologicalSorter({key: _before(event) & by_id.keys() for key, (_, event) in by_id.items()})
    waiting.prepare()
    ready: list[tuple[Any, int, str]] = []
    ordered = []
    while waiting.is_active():
        for event_id in waiting.get_ready():
            event = by_id[event_id][1]
            heappush(ready, (event.timestamp, event.emission_sequence or 0, event_id))
        earliest = heappop(ready)[-1]
        ordered.append(by_id[earliest])
        waiting.done(earliest)
    return ordered


def _before(event: Any) -> set[str]:
    return {event.previous_event_id, event.parent_event_id, event.started_event_id} - {event.event_id}
