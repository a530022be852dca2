"""Blocks as decorators: functions of every kind, unchanged in kind and looks.

Each call is a block of its own. A generator's block lasts from its first item to its end, but is the current
block only while the generator's own code runs: what its consumer does between two items is not part of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from tokentrace_core.shield import shielded

P = ParamSpec("P")
R = TypeVar("R")


class Decorating(Protocol):
    """What a decorator needs of a block."""

    def afresh(self) -> Self: ...
    def begin(self) -> None: ...
    def end(self, error: BaseException | None = None) -> None: ...
    def active(self) -> AbstractContextManager[None]: ...
    def called_with(self, arguments: dict[str, Any]) -> None: ...
    def returned(self, value: Any) -> None: ...
    def yielded(self, item: Any) -> None: ...


Fresh = Callable[[tuple[Any, ...], dict[str, Any]], Decorating]


def decorate(block: Decorating, function: Callable[P, R]) -> Callable[P, R]:
    """The function inside a fresh block per call."""
    signature = inspect.signature(function)

    def fresh(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Decorating:
        own = block.afresh()
        shielded(own.called_with)(_arguments(signature, args, kwargs))
        return own

    wrap = next(wrap for is_kind, wrap in _KINDS if is_kind(function))
    wrapper = wrap(function, fresh)
    functools.update_wrapper(wrapper, function)
    return wrapper  # type: ignore[no-any-return]


def append(so_far: Any, item: Any) -> Any:
    """The output of a generator: text grows, of anything else the last counts."""
    return so_far + item if isinstance(so_far, str) and isinstance(item, str) else item


def _wrap_async_generator(function: Any, fresh: Fresh) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        block = fresh(args, kwargs)
        inner = function(*args, **kwargs)
        resume, sent = inner.asend, None
        with _whole(block):
            try:
                while True:
                    with block.active():
                        try:
                            item = await resume(sent)
                        except StopAsyncIteration:
                            return
                    shielded(block.yielded)(item)
                    try:
                        resume, sent = inner.asend, (yield item)
                    except Exception as thrown:
                        resume, sent = inner.athrow, thrown
            finally:
                await inner.aclose()

    return wrapper


def _wrap_coroutine(function: Any, fresh: Fresh) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        block = fresh(args, kwargs)
        with _whole(block), block.active():
            value = await function(*args, **kwargs)
            shielded(block.returned)(value)
            return value

    return wrapper


def _wrap_generator(function: Any, fresh: Fresh) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        block = fresh(args, kwargs)
        inner = function(*args, **kwargs)
        resume, sent = inner.send, None
        with _whole(block):
            try:
                while True:
                    with block.active():
                        try:
                            item = resume(sent)
                        except StopIteration as stop:
                            if stop.value is not None:
                                shielded(block.returned)(stop.value)
                            return stop.value
                    shielded(block.yielded)(item)
                    try:
                        resume, sent = inner.send, (yield item)
                    except Exception as thrown:
                        resume, sent = inner.throw, thrown
            finally:
                inner.close()

    return wrapper


def _wrap_function(function: Any, fresh: Fresh) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        block = fresh(args, kwargs)
        with _whole(block), block.active():
            value = function(*args, **kwargs)
            shielded(block.returned)(value)
            return value

    return wrapper


_KINDS: Sequence[tuple[Callable[[Any], bool], Callable[[Any, Fresh], Any]]] = (
    (inspect.isasyncgenfunction, _wrap_async_generator),
    (inspect.iscoroutinefunction, _wrap_coroutine),
    (inspect.isgeneratorfunction, _wrap_generator),
    (lambda _: True, _wrap_function),
)


@contextmanager
def _whole(block: Decorating) -> Iterator[None]:
    """From the block's beginning to its end, whatever leaves it."""
    block.begin()
    try:
        yield
    except BaseException as error:
        block.end(error)
        raise
    block.end()


def _arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The call's arguments by name, without the object a method belongs to."""
    try:
        bound = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:
        return dict(kwargs)
    for receiver in ("self", "cls"):
        bound.pop(receiver, None)
    return bound
