"""Where the calling code is, by what has been emitted in its context.

CrewAI pairs an end with whatever began last in the same context. A failed model call ends twice, so from then on its
ends name wrong starts and its starts wrong parents, until the stack is empty in the middle of a crew. So each start is
noted here, too, in the same kind of context variable, and an end takes back only a start of its own kind: the one that
it names, else the latest of the same object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from typing import NamedTuple


class Frame(NamedTuple):
    """One thing that has begun here and not ended."""

    kind: str
    source: int
    key: Hashable
    parent: Hashable | None


class Place:
    """One listener's notes."""

    def __init__(self) -> None:
        self._frames: ContextVar[tuple[Frame, ...]] = ContextVar("tokentrace_crewai_place", default=())

    def current(self) -> Hashable | None:
        """The innermost thing that this code runs in."""
        frames = self._frames.get()
        return frames[-1].key if frames else None

    def innermost(self, kind: str, source: object | None) -> Hashable | None:
        """The innermost thing that this code runs in, if it is of this kind, and of this object if one is given."""
        frames = self._frames.get()
        if not frames or frames[-1].kind != kind or (source is not None and frames[-1].source != id(source)):
            return None
        return frames[-1].key

    def enter(self, kind: str, source: object, key: Hashable, parent: Hashable | None) -> None:
        self._frames.set((*self._frames.get(), Frame(kind, id(source), key, parent)))

    def leave(self, kind: str, source: object, named: Hashable | None) -> Hashable | None:
        """The key of what ends here; None if it did not begin here. What it left open inside is over, too."""
        frames = self._frames.get()
        same_kind = [frame for frame in reversed(frames) if frame.kind == kind]
        own = (frame for frame in same_kind if frame.source == id(source))
        ended = next((frame for frame in same_kind if frame.key == named), next(own, None))
        if ended is None:
            return None
        over = {ended.key}
        for frame in frames:
            if frame.parent in over:
                over.add(frame.key)
        self._frames.set(tuple(frame for frame in frames if frame.key not in over))
        return ended.key


def when_called_off(act: Callable[[], None]) -> None:
    """Act if the task that this code runs in, if any, is cancelled."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return
    if task is not None:
        task.add_done_callback(lambda done: act() if done.cancelled() else None)
