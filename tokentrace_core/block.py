"""What every block is: entered with `with` or `async with`, put on a function as a decorator, ended once."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from tokentrace_core import context
from tokentrace_core.decorating import decorate
from tokentrace_core.shield import shielded

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

P = ParamSpec("P")
R = TypeVar("R")


class Block(ABC):
    """What all blocks share: entering, leaving, and being a decorator."""

    def __init__(self, tracer: Tracer, parent: Hashable | None = None) -> None:
        self._tracer = tracer
        self._recorder = tracer.recorder
        self._parent = parent
        self._reset()

    def _reset(self) -> None:
        """Be a block that has not begun: each time it does is a span of its own."""
        self.key: Hashable = object()

    @abstractmethod
    def begin(self) -> None:
        """Open the span, for code that cannot use `with`. End it with `end`, on every path."""

    @abstractmethod
    def end(self, error: BaseException | None = None) -> None:
        """Close the span; with the error that left it, if one did."""

    def __enter__(self) -> Self:
        self.begin()
        self._token = context.enter(self._recorder, self.key, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.leave(self._token)
        self.end(error)

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
        block.key = object()
        return block

    def called_with(self, arguments: dict[str, Any]) -> None:
        """The decorated function was called."""

    def returned(self, value: Any) -> None:
        """The decorated function returned."""

    def yielded(self, item: Any) -> None:
        """The decorated generator gave an item."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Be the current block, without beginning or ending."""
        token = context.enter(self._recorder, self.key, self)
        try:
            yield
        finally:
            context.leave(token)
