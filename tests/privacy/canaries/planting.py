"""Which canary was put where. No value is used twice, so one that comes out tells its way in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import SystemRandom
from typing import NamedTuple

from tests.privacy.canaries.kinds import KINDS


class Canary(NamedTuple):
    """A secret of one kind, in one place of an agent's work."""

    kind: str
    place: str
    core: str


_used: set[str] = set()


@dataclass
class Cage:
    """Gives out secrets of these kinds, for one agent, and remembers where each was put."""

    kinds: Sequence[str]
    planted: list[Canary] = field(default_factory=list)

    def at(self, place: str) -> str:
        """Secrets alone, as the name of something would be."""
        return "; ".join(self._one(kind, place) for kind in self.kinds)

    def said_at(self, place: str) -> str:
        """Secrets in sentences."""
        return " ".join(
            f"The customer wrote {self._one(kind, place)} and nothing else." for kind in self.kinds
        )

    def named_at(self, place: str) -> dict[str, str]:
        """A secret that only the key tells under which it stands."""
        core = "".join(SystemRandom().choices("bcdfghjklmnpqrstvwxz", k=14))
        self.planted.append(Canary("value under a telling key", place, core))
        return {"client_secret": core}

    def named_tool_at(self, place: str) -> str:
        """A secret as a part of a name that providers take; "look_up" if none of these kinds can be one."""
        for kind in self.kinds:
            if re.fullmatch("[A-Za-z0-9_-]+", KINDS[kind](SystemRandom()).text):
                return f"look_up_{self._one(kind, place)}"
        return "look_up"

    def _one(self, kind: str, place: str) -> str:
        secret = KINDS[kind](SystemRandom())
        while secret.core in _used:
            secret = KINDS[kind](SystemRandom())
        _used.add(secret.core)
        self.planted.append(Canary(kind, place, secret.core))
        return secret.text
