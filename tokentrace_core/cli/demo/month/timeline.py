"""The time and the ids of a month that is told in a second: set by the story, the same for the same seed."""

from __future__ import annotations

import random

from tokentrace_core.ids import Clock, Timeline


class StoryClock(Clock):
    """The story's time; it stands still between two events."""

    __slots__ = ("_story",)

    def __init__(self, story: StoryTime) -> None:
        self._story = story

    def now(self) -> int:
        return self._story.at


class StoryTime(Timeline):
    """`at`: microseconds since the epoch, UTC. Ids sort by it, as in life, and are made of it and the seed."""

    def __init__(self, seed: object) -> None:
        self.at = 0
        self.seed = seed
        self._chance = random.Random(f"ids of {seed}")
        self._made: dict[int, int] = {}

    def clock(self) -> Clock:
        return StoryClock(self)

    def run_id(self) -> str:
        self._made.clear()
        return f"{self.at // 1_000:012x}{self._chance.getrandbits(80):020x}"

    def span_id(self) -> str:
        # Counted, not drawn: also where its agents work side by side, no two spans of a run share an id.
        count = self._made[self.at] = self._made.get(self.at, -1) + 1
        return f"{(self.at << 12) + count & 0xFFFF_FFFF_FFFF_FFFF:016x}"

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.at += round(seconds * 1e6)
