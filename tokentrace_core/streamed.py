"""A stream that a decorated function gives back: the same stream to its consumer, and its block's to the end.

What the model answers is known only when the stream has been read, after the function has returned. So the
function's caller gets a wrapper that iterates, closes and looks like the stream, shows each piece to the block, and
ends it once: when the stream is exhausted, fails, is closed, or is forgotten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tokentrace_core.shield import shielded

_CLOSING = ("close", "aclose")


class Watching(Protocol):
    """What a stream needs of its block."""

    def active(self) -> AbstractContextManager[None]: ...
    def end(self, error: BaseException | None = None) -> None: ...
    def returned(self, value: Any) -> None: ...
    def yielded(self, item: Any) -> None: ...


class Once:
    """Ends a block, the first time it is asked to."""

    def __init__(self, block: Watching) -> None:
        self._block: Watching | None = block

    def __call__(self, error: BaseException | None = None) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.end(error)

    def give_up(self) -> None:
        """Leave the ending to others."""
        self._block = None


def is_stream(value: Any) -> bool:
    """Whether it can be read only once: an iterator of either kind. The class is asked, no code of its own is run."""
    return issubclass(type(value), Iterator | AsyncIterator)


def streamed(block: Watching, stream: Any) -> Any:
    """The stream, with the block open until its end."""
    kinds = (issubclass(type(stream), Iterator), issubclass(type(stream), AsyncIterator))
    return _WRAPPERS[kinds](block, stream)


class _Streamed:
    """What both kinds share. The names are long because all others are the stream's own."""

    def __init__(self, block: Watching, stream: Any) -> None:
        self._tokentrace_block = block
        self._tokentrace_stream = stream
        self._tokentrace_end = Once(block)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """For `isinstance`, which callers choose by what they got."""
        return type(self._tokentrace_stream)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._tokentrace_stream, name)
        return self._tokentrace_closing(attribute) if name in _CLOSING else attribute

    def __del__(self) -> None:
        self._tokentrace_end(GeneratorExit())

    def _tokentrace_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        def closing(*args: Any, **kwargs: Any) -> Any:
            try:
                return close(*args, **kwargs)
            finally:
                self._tokentrace_end(GeneratorExit())

        return closing

    def _tokentrace_itself(self, entered: Any) -> Any:
        return self if entered is self._tokentrace_stream else entered


class _SyncStreamed(_Streamed):
    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            with self._tokentrace_block.active():
                item = next(self._tokentrace_stream)
        except StopIteration as stop:
            if stop.value is not None:
                shielded(self._tokentrace_block.returned)(stop.value)
            self._tokentrace_end()
            raise
        except BaseException as error:
            self._tokentrace_end(error)
            raise
        shielded(self._tokentrace_block.yielded)(item)
        return item

    def __enter__(self) -> Any:
        return self._tokentrace_itself(self._tokentrace_stream.__enter__())

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> Any:
        try:
            return self._tokentrace_stream.__exit__(kind, error, trace)
        finally:
            self._tokentrace_end(GeneratorExit() if error is None else error)


class _AsyncStreamed(_Streamed):
    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            with self._tokentrace_block.active():
                item = await anext(self._tokentrace_stream)
        except StopAsyncIteration:
            self._tokentrace_end()
            raise
        except BaseException as error:
            self._tokentrace_end(error)
            raise
        shielded(self._tokentrace_block.yielded)(item)
        return item

    async def __aenter__(self) -> Any:
        return self._tokentrace_itself(await self._tokentrace_stream.__aenter__())

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> Any:
        try:
            return await self._tokentrace_stream.__aexit__(kind, error, trace)
        finally:
            self._tokentrace_end(GeneratorExit() if error is None else error)


class _BothStreamed(_SyncStreamed, _AsyncStreamed):
    """Of a stream that can be read either way."""


_WRAPPERS: dict[tuple[bool, bool], type[_Streamed]] = {
    (True, False): _SyncStreamed,
    (False, True): _AsyncStreamed,
    (True, True): _BothStreamed,
}
