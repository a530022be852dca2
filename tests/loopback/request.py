"""What is kept of every model request: what came in, the turn it got, and whether that arrived in full."""

from dataclasses import dataclass

from tests.loopback.endpoints import MODEL_ENDPOINTS
from tests.loopback.turns import NO_USAGE, Json, Turn, TurnUsage


@dataclass
class Request:
    """One POST to a model endpoint."""

    number: int
    """Order of arrival since the start or the last reset, from 1."""
    path: str
    body: Json
    headers: dict[str, str]
    """By lower-case name."""
    turn: Turn
    answered: bool = False
    """A 2xx answer was sent in full, to a client that was still there."""

    @property
    def status(self) -> int:
        return self.turn.status

    @property
    def streamed(self) -> bool:
        streams = MODEL_ENDPOINTS[self.path].events is not None
        return streams and self.turn.ok and self.body.get("stream") is True

    @property
    def reported(self) -> TurnUsage:
        """The usage the client was told: none if the answer did not arrive or carried none."""
        told = MODEL_ENDPOINTS[self.path].usage_sent(self.turn, self.body) if self.answered else None
        return told or NO_USAGE
