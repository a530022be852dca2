"""What a framework must offer to be held to the suite: an agent built from data, asked in three ways.

A driver is how a user of that framework would write it: the framework's documented agent, its real OpenAI and
Anthropic clients, and nothing of ours but the handler. It knows neither the script nor what is asserted.

What all drivers have in common, so that the records can be compared:

- the clients talk to `server.openai_url` or `server.anthropic_url` (with any key: the environment has one) and try
  again twice when the provider fails; no agent, task or tool above them tries again;
- a stream asks for its usage, if the framework does not do so by itself (`stream_options.include_usage`);
- tools that the model asks for together may run together;
- a tool that raises is told to the model, and the agent goes on;
- the agent has no step limit below 25, no memory, no planning and no output parsing of its own;
- an exception that the framework raises is not caught.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import ClassVar

from tests.conformance.work import Work
from tests.loopback import LoopbackServer
from tokentrace_core import Tracer


class Driver(ABC):
    """One framework, recorded by one tracer and answered by one server. Made anew for every sentence."""

    framework: ClassVar[str]
    """The name that the handler writes into `runs.framework`."""

    def __init__(self, tracer: Tracer, server: LoopbackServer) -> None:
        self.tracer = tracer
        self.server = server

    @abstractmethod
    def attach(self) -> None:
        """Record everything that is asked from here on, as the framework's README section says.

        Called a second time, a second handler of the same tracer hangs beside the first: another object where
        handlers are passed along, `instrument(tracer)` again where recording is process-wide.
        """

    @abstractmethod
    def detach(self) -> None:
        """Record nothing any more. Called after every sentence, attached or not."""

    def settle(self) -> None:
        """Wait until the framework has reported all that has happened; nothing to do if it reports inline."""

    @abstractmethod
    def ask(self, work: Work) -> str:
        """Build the agent, ask it synchronously, return its answer's text.

        Called from several threads at once. A framework whose agents are only asynchronous runs a loop of its
        own here (`asyncio.run`), as its users have to.
        """

    @abstractmethod
    async def ask_async(self, work: Work) -> str:
        """Build the agent, await it, return its answer's text. Helpers are awaited, too. Called concurrently."""

    @abstractmethod
    def stream(self, work: Work) -> AsyncGenerator[str, None]:
        """Build the agent, stream it, yield the texts of its answer as they arrive: an async generator.

        Only the asked agent's own texts, neither its helpers' nor arguments of tools; joined they are the
        answer. Whoever reads may stop before the end and close the generator: then close the framework's
        stream, as its users would (`contextlib.aclosing`, or what the framework has for giving up).
        """
