"""Decorated generators: the block ends with the generator, and is the current one only while its own code runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]


def test_what_the_consumer_of_a_generator_does_is_not_inside_its_block(
    tracer: Tracer, stored: Stored
) -> None:
    @tracer.tool
    def pages() -> Iterator[int]:
        with tracer.tool("fetch"):
            yield 1

    async def async_pages() -> AsyncIterator[int]:
        yield 2

    async def consume() -> None:
        async for _ in tracer.tool(async_pages)():
            with tracer.llm("gpt-4o"):
                pass

    with tracer.run("agent") as run:
        with run.step("read"):
            for _ in pages():
                with tracer.llm("gpt-4o"):
                    pass
            asyncio.run(consume())
    assert [step["agent"] for step in stored().steps(run.id or "")] == ["agent"]
    assert run.steps == 1


def test_a_generator_can_still_be_sent_to_closed_and_asked_for_its_value(tracer: Tracer) -> None:
    ended: list[str] = []

    @tracer.tool
    def dialogue() -> Any:
        try:
            got = yield "what?"
            yield f"got {got}"
        finally:
            ended.append("closed")
        return "value"

    def outer() -> Any:
        return (yield from dialogue())

    talk = dialogue()
    assert (next(talk), talk.send("this")) == ("what?", "got this")
    talk.close()
    assert ended == ["closed"]
    rest = outer()
    assert [next(rest), rest.send("x")] == ["what?", "got x"]
    with pytest.raises(StopIteration) as stop:
        next(rest)
    assert stop.value.value == "value"


def test_a_decorated_generator_still_handles_what_its_consumer_throws_into_it(tracer: Tracer) -> None:
    rolled_back: list[str] = []

    @contextmanager
    @tracer.step
    def transaction() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            rolled_back.append(str(error))

    @asynccontextmanager
    @tracer.step
    async def later() -> AsyncIterator[None]:
        try:
            yield
        except KeyError as error:
            rolled_back.append(str(error))

    async def main() -> None:
        async with later():
            raise KeyError("two")

    with transaction():
        raise KeyError("one")
    asyncio.run(main())
    assert rolled_back == ["'one'", "'two'"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_a_decorated_generator_learns_why_it_is_stopped(tracer: Tracer, kind: type[BaseException]) -> None:
    seen: list[BaseException] = []

    @contextmanager
    @tracer.tool
    def resource() -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            seen.append(error)
            raise

    thrown = kind()
    with pytest.raises(kind) as caught, resource():
        raise thrown
    assert (seen, caught.value) == ([thrown], thrown)


def test_a_decorated_async_generator_learns_that_its_task_is_cancelled(tracer: Tracer) -> None:
    seen: list[type[BaseException]] = []

    @asynccontextmanager
    @tracer.tool
    async def resource() -> AsyncIterator[None]:
        try:
            yield
        except BaseException as error:
            seen.append(type(error))
            raise

    async def work(begun: asyncio.Event) -> None:
        async with resource():
            begun.set()
            await asyncio.sleep(60)

    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(work(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == [asyncio.CancelledError]


def test_a_decorated_generator_that_swallows_an_interrupt_goes_on_as_it_would(
    tracer: Tracer, stored: Stored
) -> None:
    @contextmanager
    @tracer.tool
    def resource() -> Iterator[None]:
        with suppress(SystemExit):
            yield

    with tracer.run("agent") as run:
        with resource():
            raise SystemExit
    assert [row["status"] for row in stored().tool_calls(run.id or "")] == ["success"]


def test_p18_a_stream_that_its_consumer_abandons_is_cancelled_with_what_had_come(
    tracer: Tracer, stored: Stored
) -> None:
    @tracer.llm("gpt-4o")
    def stream(prompt: str) -> Iterator[str]:
        yield "half an "
        yield "answer"

    with tracer.run("agent") as run:
        pieces = stream("hello " * 50)
        next(pieces)
        pieces.close()
    reader = stored()
    [call] = reader.llm_calls(run.id or "")
    assert (call["status"], call["usage_source"]) == ("cancelled", "estimated")
    assert call["cost_nano_usd"] > 0
    assert reader.message(call["output_id"])["content"] == "half an "
    assert (reader.run("last")["status"], call["error"]) == ("success", None)
