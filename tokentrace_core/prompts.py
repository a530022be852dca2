"""Prompts as a prefix tree: an agent resends its whole history, so each message is kept once.

A `Prompt` is a path of messages; its last one is the leaf that an LLM call points at. The next call of the
same agent shares the path and adds what is new. `PromptHistory` finds the shared part by object identity (or,
where a framework reports copies, by comparing them), so encoding, redacting and storing n steps costs O(n), not
O(n²). Ids are hashes of *redacted* content: the same message has the same id in every run and process.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import compress, count
from typing import Any

from tokentrace_core.payload import Payload, content_id

#: A message in the form all frameworks are brought to: {"role", "content"} and, where it has them,
#: "tool_calls" [{"id", "name", "arguments"}], "tool_call_id", "name", "status".
Message = Mapping[str, Any]
ToMessage = Callable[[Any], Message]

_REMEMBERED_MESSAGES = 20_000


class Prompt:
    """A path in the tree: `parent` and one more message."""

    __slots__ = ("_id", "_size", "_weighed", "depth", "message", "parent")

    def __init__(self, parent: Prompt | None, message: Payload) -> None:
        self.parent = parent
        self.message = message
        self.depth: int = parent.depth + 1 if parent else 1
        self._id: str | None = None
        self._size: int | None = None
        self._weighed = False

    @property
    def id(self) -> str:
        """Hash of the path. Redacts and hashes what is new in it, so best read off the agent's thread."""
        if self._id is None:
            for prompt in reversed(self._without_id()):
                above = prompt.parent.id if prompt.parent else ""
                prompt._id = content_id(above + prompt.message.id)
        assert self._id is not None
        return self._id

    @property
    def size(self) -> int:
        """UTF-8 bytes of the whole path; what is new in it is measured when this is first asked."""
        size, new = 0, []
        node: Prompt | None = self
        while node is not None and node._size is None:
            new.append(node)
            node = node.parent
        size = node._size or 0 if node is not None else 0
        for node in reversed(new):
            node._size = size = size + node.message.size
        return size

    def not_yet_weighed(self) -> int:
        """Characters held by this path, less what was told for a path that begins like it."""
        held = 0
        node: Prompt | None = self
        while node is not None and not node._weighed:
            node._weighed = True
            held += node.message.held
            node = node.parent
        return held

    def messages(self) -> list[Any]:
        """The redacted messages, first to last."""
        return [prompt.message.value for prompt in reversed(self.path())]

    def path(self) -> list[Prompt]:
        """This node and those above it, last to first."""
        path, node = [], self
        while True:
            path.append(node)
            if node.parent is None:
                return path
            node = node.parent

    def _without_id(self) -> list[Prompt]:
        missing: list[Prompt] = []
        node: Prompt | None = self
        while node is not None and node._id is None:
            missing.append(node)
            node = node.parent
        return missing


class PromptHistory:
    """What the agents of one run have sent: recognises messages it has met."""

    def __init__(self, seal: Callable[[Message], Payload]) -> None:
        self._seal = seal
        self._met: dict[int, tuple[object, Witness, Payload]] = {}

    def prompt(
        self, messages: Sequence[Any], to_message: ToMessage, last: Sent | None
    ) -> tuple[Sent | None, int]:
        """The path of `messages`, and how many of them `last`, the agent's previous prompt, shares."""
        shared = last.shared_with(messages) if last else 0
        sent = Sent(last, shared)
        for message in messages[shared:]:
            sent.add(message, self.payload(message, to_message))
        return (sent if sent.nodes else None), shared

    def payload(self, message: Any, to_message: ToMessage) -> Payload:
        """The message as a payload; the same one for the same object, as long as its content is the same."""
        met = self._met.get(id(message))
        witness = _witness(message)
        if met is not None and met[0] is message and _same(met[1], witness):
            return met[2]
        payload = self._seal(to_message(message))
        if len(self._met) >= _REMEMBERED_MESSAGES:
            self._met.clear()
        self._met[id(message)] = (message, witness, payload)
        return payload


#: The parts of a message that are replaced when it is edited in place.
Witness = tuple[object, ...]
_content = operator.attrgetter("content")
#: Stands for a content that has to be looked into.
_NOT_PLAIN = object()


class Sent:
    """One prompt as it was sent: the caller's message objects beside the nodes they became.

    It begins with what it shares with an earlier one: those messages are as they were, so they are not read again.
    Whether they are is asked at every call, of every message; so that is done in C for the usual one: the same object
    with the same text. Only the others are looked into.
    """

    __slots__ = ("_messages", "_texts", "_witnesses", "nodes")

    def __init__(self, earlier: Sent | None = None, shared: int = 0) -> None:
        self._messages: list[Any] = earlier._messages[:shared] if earlier else []
        self._witnesses: list[Witness] = earlier._witnesses[:shared] if earlier else []
        self._texts: list[object] = earlier._texts[:shared] if earlier else []
        self.nodes: list[Prompt] = earlier.nodes[:shared] if earlier else []

    def add(self, message: Any, payload: Payload) -> None:
        """One more message, which is not shared."""
        witness = _witness(message)
        self._messages.append(message)
        self._witnesses.append(witness)
        self._texts.append(_text(witness))
        self.nodes.append(Prompt(self.nodes[-1] if self.nodes else None, payload))

    @property
    def leaf(self) -> Prompt:
        return self.nodes[-1]

    def shared_with(self, messages: Sequence[Any]) -> int:
        """How many messages at the start of both are the same: unchanged objects, or equal copies of them."""
        same_object = map(operator.is_, self._messages, messages)
        same_text = map(operator.is_, self._texts, _contents(messages))
        plainly_the_same = map(operator.and_, same_object, same_text)
        for place in compress(count(), map(operator.not_, plainly_the_same)):
            if not self._unchanged(place) or not _equal(self._messages[place], messages[place]):
                return place
        return min(len(self._messages), len(messages))

    def _unchanged(self, place: int) -> bool:
        """Whether the caller has left the message alone since it was sent."""
        return _same(self._witnesses[place], _witness(self._messages[place]))


def _text(witness: Witness) -> object:
    return witness[0] if len(witness) == 1 and type(witness[0]) is str else _NOT_PLAIN


def _contents(messages: Sequence[Any]) -> list[Any]:
    try:
        return list(map(_content, messages))
    except AttributeError:
        return [getattr(message, "content", None) for message in messages]


def _witness(message: Any) -> Witness:
    """The parts of a message that tell whether it was edited, down to the values of its blocks."""
    if type(message) is dict:
        parts, content = tuple(message.values()), message.get("content")
    else:
        content = getattr(message, "content", None)
        parts = (content,)
    if type(content) is list:
        for block in content:
            parts += tuple(block.values()) if type(block) is dict else (block,)
    return parts


def _same(witness: Witness, other: Witness) -> bool:
    return len(witness) == len(other) and all(map(operator.is_, witness, other))


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether they are one, or one is a copy of the other: some frameworks report copies, some make the first anew."""
    if ours is theirs:
        return True
    if type(ours) is not type(theirs):
        return False
    try:
        return bool(ours == theirs)
    except Exception:  # what a user has put into a message may not be comparable
        return False
