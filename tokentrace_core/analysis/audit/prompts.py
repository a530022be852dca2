"""The texts of prompts, where sizes and places do not say enough."""

from __future__ import annotations

import json

from tokentrace_core.store.reader import Reader

#: A system prompt below this is not looked into: it is less than any cache takes (1,024 tokens of 4 bytes).
LARGE_BYTES = 4_096
#: Texts of which something is remembered.
_REMEMBERED = 10_000
#: Two large system prompts that end in the same so many characters, but for figures, are one with something changed in it.
_TAIL = 2_048
#: Where a text that retention has taken says so.
_MARKER = 60
#: Digits, and the letters that ids in hexadecimal have.
_FIGURES = b"0123456789abcdefABCDEF"


class Prompts:
    """Reads messages, and remembers what it has learnt of them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._sizes: dict[str, int] = {}

    def tools_size(self, tools_id: str | None) -> int:
        """Bytes of the tool definitions, which stand before all messages."""
        if tools_id is None:
            return 0
        size = self._sizes.get(tools_id)
        if size is None:
            size = self._sizes[tools_id] = self.message(tools_id)[1]
        return size

    def text(self, message_id: str) -> str:
        """A message as it is stored."""
        return self.message(message_id)[0]

    def message(self, message_id: str) -> tuple[str, int]:
        """A message as it is stored, and its bytes as it was sent; "", 0 if there is none."""
        found = self._reader.execute(
            "select coalesce(body, ''), coalesce(bytes, 0) from messages where id = ?", [message_id]
        )
        body, size = next(found, ("", 0))
        return str(body), size


class Skeletons:
    """What of system prompts stays the same from call to call."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self._known: dict[str, int] = {}

    def of(self, message_id: str) -> int:
        """As a number, by the message's id."""
        known = self._known.get(message_id)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[message_id] = _skeleton(message_id, self._prompts.text(message_id))
        return known


def _skeleton(message_id: str, text: str) -> int:
    # What retention has taken looks alike, and is not.
    gone = "[expired: " in text[:_MARKER]
    end = text[-_TAIL:].encode("utf-8", "replace").translate(None, _FIGURES)
    return hash(message_id if gone else end)


def beginning(body: str, characters: int) -> str:
    """How a stored message begins, on one line."""
    try:
        message = json.loads(body)
    except ValueError:
        message = body
    content = message.get("content") if isinstance(message, dict) else message
    text = content if isinstance(content, str) else json.dumps(content)
    return " ".join(text[: 4 * characters].split())[:characters]


def difference(before: str, after: str, characters: int) -> str:
    """What stands where two texts part, as a JSON text."""
    begin = max(0, common(before, after) - characters // 2)
    return json.dumps(after[begin : begin + characters], ensure_ascii=False)


def common(one: str, other: str) -> int:
    """How many characters at the start are the same."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
