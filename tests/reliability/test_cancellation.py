"""Called off: the very exception goes on, and the call is closed, with what had come and what that cost."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tokentrace_core import Budget, Tracer
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]


async def by_a_timeout(work: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.02)


async def by_a_scope(work: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await work()


async def by_a_sibling(work: Callable[[], Awaitable[Any]]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise ValueError("the sibling's")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work())  # type: ignore[arg-type]
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await both()
    assert [str(error) for error in caught.value.exceptions] == ["the sibling's"]


async def by_name(work: Callable[[], Awaitable[Any]]) -> None:
    task: asyncio.Task[Any] = asyncio.ensure_future(work())  # type: ignore[assignment]
    await asyncio.sleep(0.02)
    task.cancel("no longer wanted")
    with pytest.raises(asyncio.CancelledError, match="no longer wanted"):
        await task


@pytest.mark.parametrize(
    "called_off", [by_a_timeout, by_a_scope, by_a_sibling, by_name], ids=lambda how: how.__name__
)
@pytest.mark.parametrize("written", ["as a block", "as a decorator"])
def test_a_call_that_is_called_off_is_cancelled_and_whoever_called_it_off_sees_what_they_would(
    tracer: Tracer, stored: Stored, called_off: Callable[..., Awaitable[None]], written: str
) -> None:
    seen: list[BaseException] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        except BaseException as error:
            seen.append(error)
            raise

    async def block() -> None:
        try:
            with tracer.run("agent"), tracer.step("think"), tracer.llm("gpt-4o", messages=["hello " * 100]):
                await wait()
        except BaseException as error:
            seen.append(error)
            raise

    decorated = tracer.run(tracer.llm("gpt-4o", messages=["hello " * 100])(wait))
    asyncio.run(called_off(block if written == "as a block" else decorated))  # type: ignore[arg-type]
    assert {type(error) for error in seen} == {asyncio.CancelledError}
    assert len({id(error) for error in seen}) == 1, "the very same one"
    reader = stored()
    [call] = reader.query("select * from llm_calls")
    assert (call["status"], call["usage_source"], call["error"]) == ("cancelled", "estimated", None)
    assert call["cost_nano_usd"] > 0
    assert reader.run("last")["status"] == "cancelled"
    assert reader.run("last")["cost_nano_usd"] == call["cost_nano_usd"]
    assert {row["status"] for row in reader.query("select status from steps")} <= {"cancelled"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [(KeyboardInterrupt, "cancelled"), (SystemExit, "failure"), (GeneratorExit, "cancelled")],
)
def test_what_ends_a_program_passes_through_untouched(
    tracer: Tracer, stored: Stored, kind: type[BaseException], status: str
) -> None:
    error = kind()
    with pytest.raises(kind) as caught, tracer.run("agent") as run, run.llm("gpt-4o", messages=["hello"]):
        raise error
    assert caught.value is error
    [call] = stored().llm_calls(run.id or "")
    assert call["status"] == status
    assert stored().run("last")["status"] == status
    assert tracer.recorder.open_parts == 0


def test_what_a_cancelled_call_had_reserved_is_free_for_the_next(db: Any) -> None:
    with Tracer(db, budget=Budget(run_usd="0.05")) as tracer, tracer.run("agent") as run:
        for _ in range(30):
            with pytest.raises(asyncio.CancelledError), run.llm("gpt-4o", messages=["x"], max_tokens=4_000):
                raise asyncio.CancelledError
        with run.llm("gpt-4o", messages=["x"], max_tokens=4_000) as call:
            call.done("answer")
    assert run.cost_usd > 0


@pytest.mark.parametrize("how", ["never read", "forgotten", "closed elsewhere", "read to its end elsewhere"])
def test_a_stream_that_nobody_reads_where_it_was_asked_for_is_closed_all_the_same(
    tracer: Tracer, stored: Stored, how: str, recwarn: pytest.WarningsRecorder
) -> None:
    @tracer.llm("gpt-4o")
    def ask(prompt: str) -> Iterator[str]:
        yield "half an "
        yield "answer"

    def elsewhere(work: Callable[[], Any]) -> None:
        thread = threading.Thread(target=lambda: contextvars.Context().run(work))
        thread.start()
        thread.join()

    with tracer.run("agent") as run:
        stream = ask("hello " * 50)
        if how != "never read":
            assert next(stream) == "half an "
        if how == "closed elsewhere":
            elsewhere(stream.close)  # type: ignore[attr-defined]
        elif how == "read to its end elsewhere":
            elsewhere(functools.partial(list, stream))
        del stream
        gc.collect()
    calls = stored().llm_calls(run.id or "")
    if how == "never read":  # a generator that nobody starts has not asked anybody
        assert calls == []
        return
    [call] = calls
    read = how == "read to its end elsewhere"
    assert (call["status"], call["usage_source"]) == ("success" if read else "cancelled", "estimated")
    assert stored().message(call["output_id"])["content"] == ("half an answer" if read else "half an ")
    assert tracer.recorder.open_parts == 0
    assert [str(warning.message) for warning in recwarn if "generator" in str(warning.message)] == []
