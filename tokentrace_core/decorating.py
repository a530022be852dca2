"""Blocks as decorators: functions of every kind, unchanged in kind and looks.

Each call is a block of its own. A generator's block lasts from its first item to its end, but is the current
block only while the generator's own code runs: what its consumer does between two items is not part of it. What
is still to come when a function returns (a coroutine, a future, a model's stream) keeps the block open until it is
there.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from tokentrace_core.shield import shielded
from tokentrace_core.streamed import Once, is_stream, streamed

P = ParamSpec("P")
R = TypeVar("R")


class Decorating(Protocol):
    """What a decorator needs of a block."""

    takes_streams: bool

    def afresh(self) -> Self: ...
    def begin(self) -> None: ...
    def end(self, error: BaseException | None = None) -> None: ...
    def active(self) -> AbstractContextManager[None]: ...
    def called_with(self, arguments: Any) -> None: ...
    def returned(self, value: Any) -> None: ...
    def yielded(self, item: Any) -> None: ...


Fresh = Callable[[tuple[Any, ...], dict[str, Any]], Decorating]


def decorate(block: Decorating, function: Callable[P, R]) -> Callable[P, R]:
    """The function inside a fresh block per call."""
    if isinstance(function, staticmethod | classmethod):
        # Above one of these the decorator gets the descriptor; what is called is inside it.
        return type(function)(decorate(block, function.__func__))
    if not callable(function):
        raise TypeError(
            f"{type(function).__name__!r} is not a function; a block decorates what can be called"
        )
    signature = _signature(function)

    def fresh(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Decorating:
        own = block.afresh()
        shielded(own.called_with)(_arguments(signature, args, kwargs))
        return own

    runs = _what_runs(function)
    wrap = next(wrap for is_kind, wrap in _KINDS if is_kind(runs))
    wrapper = wrap(function, fresh)
    # A class's namespace is no set of attributes to take over.
    updated = () if isinstance(function, type) else functools.WRAPPER_UPDATES
    functools.update_wrapper(wrapper, function, updated=updated)
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
                    except GeneratorExit:
                        raise
                    except BaseException as thrown:
                        resume, sent = inner.athrow, thrown
            finally:
                await inner.aclose()

    return wrapper


def _wrap_coroutine(function: Any, fresh: Fresh) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        block = fresh(args, kwargs)
        block.begin()
        with _failing(block.end), block.active():
            value = await function(*args, **kwargs)
        return _outcome(block, value)

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
                    except GeneratorExit:
                        raise
                    except BaseException as thrown:
                        resume, sent = inner.throw, thrown
            finally:
                inner.close()

    return wrapper


def _wrap_function(function: Any, fresh: Fresh) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        block = fresh(args, kwargs)
        block.begin()
        with _failing(block.end), block.active():
            value = function(*args, **kwargs)
        return _outcome(block, value)

    return wrapper


_KINDS: Sequence[tuple[Callable[[Any], bool], Callable[[Any, Fresh], Any]]] = (
    (inspect.isasyncgenfunction, _wrap_async_generator),
    (inspect.iscoroutinefunction, _wrap_coroutine),
    (inspect.isgeneratorfunction, _wrap_generator),
    (lambda _: True, _wrap_function),
)


def _outcome(block: Decorating, value: Any) -> Any:
    """End the block with what its function returned; if that is still to come, when it has."""
    kind = type(value)
    if issubclass(kind, Coroutine):
        return _await_later(block, value)
    if hasattr(kind, "_asyncio_future_blocking"):  # how asyncio itself knows a future
        value.add_done_callback(lambda future: shielded(_end_with)(block, future))
        return value
    if block.takes_streams and is_stream(value):
        return streamed(block, value)
    shielded(block.returned)(value)
    block.end()
    return value


def _await_later(block: Decorating, coroutine: Any) -> Any:
    """The coroutine in its block. One that nobody awaits ends the block when it is forgotten."""
    once = Once(block)
    later = _awaited(block, once, coroutine)
    weakref.finalize(later, once, GeneratorExit()).atexit = False
    return later


async def _awaited(block: Decorating, once: Once, coroutine: Any) -> Any:
    with _failing(once), block.active():
        value = await coroutine
    once.give_up()
    return _outcome(block, value)


def _end_with(block: Decorating, future: Any) -> None:
    if future.cancelled():
        block.end(GeneratorExit())
    elif (error := future._exception) is not None:  # `exception()` would count as having looked at it
        block.end(error)
    else:
        block.returned(future.result())
        block.end()


@contextmanager
def _failing(end: Callable[[BaseException], None]) -> Iterator[None]:
    """End the block with the error that leaves it, if one does."""
    try:
        yield
    except BaseException as error:
        end(error)
        raise


@contextmanager
def _whole(block: Decorating) -> Iterator[None]:
    """From the block's beginning to its end, whatever leaves it."""
    block.begin()
    with _failing(block.end):
        yield
    block.end()


def _what_runs(function: Any) -> Any:
    """The code that tells the kind: an object that can be called has it in its class."""
    if inspect.isroutine(function) or isinstance(function, functools.partial | type):
        return function
    return type(function).__call__


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """None for what has none: some of the classes and functions that are built in."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | list[Any]:
    """The call's arguments by name, without the object a method belongs to; in order, if they have no names."""
    if signature is None:
        return {"args": list(args), **kwargs} if kwargs else list(args)
    try:
        bound = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:
        return dict(kwargs)
    for receiver in ("self", "cls"):
        bound.pop(receiver, None)
    return bound
