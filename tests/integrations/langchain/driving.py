"""The four ways to call a LangChain runnable, behind one call, so that a test can be run in each of them."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
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
        if self.style.startswith("a"):
            return self._runner.run(self.coroutine(runnable, inputs, config, **more), context=copy_context())
        answer = getattr(runnable, self.style)(inputs, config, **more)
        return list(answer) if self.streams else answer

    async def coroutine(self, runnable: Any, inputs: Any, config: Any = None, **more: Any) -> Any:
        """The call in one of the asynchronous styles."""
        answer = getattr(runnable, self.style)(inputs, config, **more)
        return [chunk async for chunk in answer] if self.streams else await answer
