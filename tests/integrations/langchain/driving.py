"""The four ways to call a LangChain runnable, behind one call, so that a test can be run in each of them."""

from __future__ import annotations

import asyncio
from typing import Any

STYLES = ("invoke", "ainvoke", "stream", "astream")


class Driver:
    """Calls a runnable in one style. What it gives: the output, or the list of the stream's chunks.

    One event loop serves all tests: langchain-openai keeps its async HTTP client for the whole process, and
    such a client works only in the loop that it has begun in.
    """

    def __init__(self, style: str, runner: asyncio.Runner) -> None:
        self.style = style
        self._runner = runner

    @property
    def streams(self) -> bool:
        return self.style.endswith("stream")

    def __call__(self, runnable: Any, inputs: Any, config: Any = None, **more: Any) -> Any:
        method = getattr(runnable, self.style)
        match self.style:
            case "invoke":
                return method(inputs, config, **more)
            case "ainvoke":
                return self._runner.run(method(inputs, config, **more))
            case "stream":
                return list(method(inputs, config, **more))
            case _:
                return self._runner.run(_collect(method(inputs, config, **more)))


async def _collect(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]
