"""Where a framework's agent is put to work: the tracer that records it, the provider that answers, and how it is called."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from tests.loopback import LoopbackServer
from tests.privacy.canaries.outlets import Outlets
from tests.privacy.canaries.planting import Cage
from tokentrace_core import Tracer

STYLES = ("sync", "async", "stream")


@dataclass(frozen=True)
class Bench:
    tracer: Tracer
    server: LoopbackServer
    runner: asyncio.Runner
    outlets: Outlets
    cage: Cage
    style: str

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run it to its end."""
        return self.runner.run(coroutine, context=copy_context())

    def turn_of_secrets(self, answer: str) -> dict[str, str]:
        """What a provider says of an answer, besides the answer."""
        return {
            "text": self.cage.said_at(answer),
            "id": self.cage.at("response id"),
            "model": f"gpt-4o-mini {self.cage.at('model that answered')}",
            "finish": self.cage.at("stop reason"),
        }


class Told(RuntimeError):
    """An error of a tool of the user's."""


def break_down(cage: Cage) -> None:
    """Raise an error with all that an error can have."""
    try:
        raise KeyError(cage.at("context of an error"))
    except KeyError:
        error = Told(cage.said_at("error of a tool"), {"sent": cage.said_at("argument of an error")})
        error.add_note(cage.said_at("note of an error"))
        raise error from LookupError(cage.said_at("cause of an error"))
