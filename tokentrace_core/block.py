"""What every block is: entered with `with` or `async with`, put on a function as a decorator, ended once.

The block is what the user holds; each time it is entered is an `Entry` of its own, with a span of its own. So one
block may be entered again while it is open, by a recursive agent, by two tasks or threads at once, and each exit
closes what its own entry opened: which one that is, the context says.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast

from tokentrace_core import context
from tokentrace_core.decorating import decorate
from tokentrace_core.shield import shielded

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

P = ParamSpec("P")
R = TypeVar("R")


class Entry:
    """One time that a block is entered: the recorder's key of its span. Blocks keep more in theirs."""

    def __init__(self) -> None:
        self.key: Hashable = object()


E = TypeVar("E", bound=Entry)


class Block(ABC, Generic[E]):
    """What all blocks share: entering, leaving, and being a decorator."""

    #: Whether an iterator that a decorated function returns is its reply; see `streamed`.
    takes_streams = False

    def __init__(self, tracer: Tracer, parent: Hashable | None = None) -> None:
        self._tracer = tracer
        self._recorder = tracer.recorder
        self._parent = parent
        self._latest = self._new_entry()

    @abstractmethod
    def _new_entry(self) -> E:
        """What the block keeps of one entry."""

    @abstractmethod
    def _open(self, entry: E) -> None:
        """Open the entry's span."""

    @abstractmethod
    def _close(self, entry: E, error: BaseException | None) -> None:
        """Close the entry's span."""

    @property
    def _entry(self) -> E:
        """The entry that the calling code is in; outside of any (by hand, in a thread), the latest."""
        for frame in context.frames_of(self._recorder):
            if frame.block is self:
                return cast(E, frame.entry)
        return self._latest

    @property
    def key(self) -> Hashable:
        """Under which the recorder knows the span."""
        return self._entry.key

    def begin(self) -> None:
        """Open the span, for code that cannot use `with`. End it with `end`, on every path."""
        self._latest = self._new_entry()
        shielded(self._open)(self._latest)

    def end(self, error: BaseException | None = None) -> None:
        """Close the span; with the error that left it, if one did."""
        shielded(self._close)(self._entry, error)

    def __enter__(self) -> Self:
        # Not `begin`, which leaves the entry where another thread's may take its place.
        self._latest = entry = self._new_entry()
        shielded(self._open)(entry)
        context.enter(self._recorder, entry.key, self, entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entry = self._latest = self._entry
        context.leave(entry)
        shielded(self._close)(entry, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def set(self, **attributes: Any) -> Self:
        """Add facts to the span; they can be filtered by as `attr.*`. Any time before it ends."""
        shielded(self._recorder.note)(self.key, attributes)
        return self

    def headers(self) -> dict[str, str]:
        """For a request made in this span, from whichever thread; see `Tracer.headers`."""
        return self._tracer.headers_at(self.key)

    def score(self, name: str, value: float, comment: str | None = None) -> Self:
        """Attach an evaluation to this span."""
        shielded(self._tracer.record_score)(self.key, name, value, comment)
        return self

    # As a decorator; see `decorating`.

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return decorate(self, function)

    def afresh(self) -> Self:
        """A block like this one, for one call of a decorated function."""
        block = copy.copy(self)
        block._latest = block._new_entry()
        return block

    def called_with(self, arguments: Any) -> None:
        """The decorated function was called: its arguments by name, or in order if they have no names."""

    def returned(self, value: Any) -> None:
        """The decorated function returned."""

    def yielded(self, item: Any) -> None:
        """The decorated generator gave an item."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be the current block, without beginning or ending."""
        entry = self._latest
        context.enter(self._recorder, entry.key, self, entry)
        try:
            yield
        finally:
            context.leave(entry)


def check_facts(what: str, facts: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a misspelt argument where it is written: later, inside the agent, nothing of ours may raise."""
    unknown = next((name for name in facts if name not in known), None)
    if unknown is not None:
        raise TypeError(f"{what} has no argument {unknown!r}; it takes {', '.join(known)}")
