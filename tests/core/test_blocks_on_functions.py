"""Blocks as decorators: the function stays what it was, in kind, looks and behaviour."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader

Stored = Callable[[], Reader]


def drive(function: Any, *args: Any) -> Any:
    """Call a function of any kind to its end; what it gave."""

    async def collect(items: Any) -> list[Any]:
        return [item async for item in items]

    if inspect.isasyncgenfunction(function):
        return asyncio.run(collect(function(*args)))
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(*args))
    if inspect.isgeneratorfunction(function):
        return list(function(*args))
    return function(*args)


def plain(order: int) -> list[int]:
    """Looks an order up."""
    return [order, order + 1]


async def coroutine(order: int) -> list[int]:
    """Looks an order up."""
    return [order, order + 1]


def generator(order: int) -> Iterator[int]:
    """Looks an order up."""
    yield order
    yield order + 1


async def async_generator(order: int) -> AsyncIterator[int]:
    """Looks an order up."""
    yield order
    yield order + 1


KINDS = [plain, coroutine, generator, async_generator]


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize("named", [False, True])
def test_a_decorated_tool_is_recorded_and_stays_what_it_was(
    tracer: Tracer, stored: Stored, function: Any, named: bool
) -> None:
    lookup = tracer.tool("look up")(function) if named else tracer.tool(function)
    assert (lookup.__name__, lookup.__doc__) == (function.__name__, "Looks an order up.")
    assert inspect.signature(lookup) == inspect.signature(function)
    with tracer.run("agent") as run:
        assert drive(lookup, 7) == drive(function, 7) == [7, 8]
    [row] = stored().tool_calls(run.id or "")
    assert (row["name"], row["arguments"]) == ("look up" if named else function.__name__, '{"order":7}')
    assert (row["result"], row["status"]) == ("[7,8]", "success")


@pytest.mark.parametrize("function", KINDS)
def test_the_kind_of_a_decorated_function_is_what_frameworks_see(tracer: Tracer, function: Any) -> None:
    for decorate in (tracer.tool, tracer.step, tracer.run, tracer.llm("gpt-4o"), tracer.session("s")):
        decorated = decorate(function)
        for is_kind in (
            inspect.isasyncgenfunction,
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
        ):
            assert is_kind(decorated) == is_kind(function)


@pytest.mark.parametrize("function", KINDS)
def test_a_decorated_run_keeps_its_input_and_its_output(
    tracer: Tracer, stored: Stored, function: Any
) -> None:
    drive(tracer.session("s")(tracer.run("agent")(function)), 7)
    row = stored().run("last")
    output = "[7,8]" if function in (plain, coroutine) else "8"
    assert (row["name"], row["input"], row["output"]) == ("agent", '{"order":7}', output)
    assert row["session_id"] == "s"


@pytest.mark.parametrize("function", KINDS)
def test_a_decorated_step_holds_the_calls_made_in_it(tracer: Tracer, stored: Stored, function: Any) -> None:
    inner = tracer.tool(function)

    @tracer.step
    def plan() -> Any:
        return drive(inner, 1)

    with tracer.run("agent") as run:
        plan()
    [step], [call] = stored().steps(run.id or ""), stored().tool_calls(run.id or "")
    assert (step["name"], call["step_id"]) == ("plan", step["id"])


def test_a_decorated_model_call_reads_its_prompt_from_the_arguments_and_its_answer_from_the_result(
    tracer: Tracer, stored: Stored
) -> None:
    @tracer.llm("gpt-4o", temperature=0)
    def ask(prompt: str) -> str:
        return f"echo of {prompt}"

    @tracer.llm("gpt-4o")
    def stream(messages: list[dict[str, str]]) -> Iterator[str]:
        yield "echo "
        yield "in pieces"

    with tracer.run("agent") as run:
        assert ask("hello") == "echo of hello"
        assert list(stream([{"role": "user", "content": "hi"}])) == ["echo ", "in pieces"]
    reader = stored()
    asked, streamed = reader.llm_calls(run.id or "")
    assert reader.message(asked["output_id"])["content"] == "echo of hello"
    assert reader.messages(asked["prompt_id"])[0]["body"]["content"] == "hello"
    assert reader.message(streamed["output_id"])["content"] == "echo in pieces"
    assert reader.messages(streamed["prompt_id"])[0]["body"]["content"] == "hi"
    assert (asked["first_token_ms"], streamed["first_token_ms"] is None) == (None, False)


@pytest.mark.parametrize("kind", ["run", "step", "llm", "tool"])
@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_leaves_a_decorated_function_unchanged(
    tracer: Tracer, stored: Stored, kind: str, is_async: bool
) -> None:
    error = KeyError("4711")

    def failing() -> None:
        raise error

    async def failing_later() -> None:
        raise error

    function = getattr(tracer, kind)("part")(failing_later if is_async else failing)
    with pytest.raises(KeyError) as caught:
        drive(function)
    assert caught.value is error
    assert stored().run("last")["status"] == "failure"


def test_a_method_is_recorded_without_the_object_it_belongs_to(tracer: Tracer, stored: Stored) -> None:
    class Shop:
        @tracer.tool
        def lookup(self, order: int, *, fast: bool = False) -> str:
            return "found"

    with tracer.run("agent") as run:
        assert Shop().lookup(7, fast=True) == "found"
    assert stored().tool_calls(run.id or "")[0]["arguments"] == '{"fast":true,"order":7}'
    with pytest.raises(TypeError, match="unexpected keyword"):
        Shop().lookup(7, slow=True)  # type: ignore[call-arg]


def test_a_recursive_function_is_a_block_at_every_level(tracer: Tracer, stored: Stored) -> None:
    @tracer.tool
    def countdown(n: int) -> int:
        return n if n == 0 else countdown(n - 1)

    with tracer.run("agent") as run:
        countdown(5)
    assert [row["status"] for row in stored().tool_calls(run.id or "")] == ["success"] * 6
