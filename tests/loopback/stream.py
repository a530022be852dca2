"""Server-sent events: what an answer looks like when it arrives in pieces."""

import json
from dataclasses import dataclass
from typing import Any

PIECES = 4


@dataclass(frozen=True)
class Event:
    """One chunk of a stream. OpenAI chat streams have no event names; their last chunk is not JSON."""

    data: dict[str, Any] | str
    name: str | None = None

    def encode(self) -> bytes:
        name = f"event: {self.name}\n" if self.name else ""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        return f"{name}data: {data}\n\n".encode()


def typed_event(data: dict[str, Any]) -> Event:
    """An event of the providers that repeat the type of the data as the name of the event."""
    return Event(data, name=data["type"])


def pieces(text: str) -> list[str]:
    """The text as the deltas of a stream: several even for one word, and few even for a book."""
    size = max(1, -(-len(text) // PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]
