"""The loopback server: a script of turns on one side, a count of what real clients asked on the other.

Turns come from a list (`script`), from a list that never ends (`script_loop`), or from a function of the request's
body (`answer_with`), which is the one to use when several agents ask at once: it does not depend on who comes first.
A script that has run out answers with a failure that says so and that clients do not retry, so that a runaway agent
is seen instead of served. Embeddings are answered outside the script, but counted like every model request.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Self

from tests.loopback.endpoints import MODEL_ENDPOINTS
from tests.loopback.handler import Listener
from tests.loopback.request import Request
from tests.loopback.turns import NO_USAGE, Json, Turn, TurnUsage

DO_NOT_RETRY = {"x-should-retry": "false"}
OUT_OF_TURNS = Turn(
    status=500,
    error_message="loopback server: the script has no turn left for this request",
    headers=DO_NOT_RETRY,
)
POLL_SECONDS = 0.01

Answer = Callable[[Json], Turn]


class LoopbackServer:
    """A provider of both kinds on a free port. A context manager; `reset()` makes it as new while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def __enter__(self) -> Self:
        self._listener = Listener(self._record)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(POLL_SECONDS,), name="loopback-server", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and hang up on every client, answered or not."""
        self._listener.shutdown()
        self._listener.hang_up_on_everyone()
        self._listener.server_close()
        self._thread.join()

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    @property
    def openai_url(self) -> str:
        return f"{self.anthropic_url}/v1"

    def script(self, *turns: Turn) -> None:
        """Answer with these turns in order of arrival, then fail."""
        self._take_turns(iter(turns))

    def script_loop(self, *turns: Turn) -> None:
        """Answer with these turns in order of arrival, over and over."""
        self._take_turns(itertools.cycle(turns))

    def answer_with(self, function: Answer) -> None:
        """Answer each request with what the function makes of its body. It is called in several threads at once."""
        self._take_turns(iter(()), function)

    def reset(self) -> None:
        """Forget the script and the requests."""
        self._take_turns(iter(()))
        with self._lock:
            self._requests: list[Request] = []

    @property
    def requests(self) -> list[Request]:
        """Every model request in order of arrival."""
        with self._lock:
            return list(self._requests)

    @property
    def count(self) -> int:
        """How many model requests came in, failed and retried ones included."""
        return len(self.requests)

    @property
    def answered(self) -> int:
        """How many of them were answered with success and in full."""
        return sum(request.answered for request in self.requests)

    @property
    def reported(self) -> TurnUsage:
        """The usage that the answers told their clients, summed."""
        return sum((request.reported for request in self.requests), start=NO_USAGE)

    def _take_turns(self, turns: Iterator[Turn], function: Answer | None = None) -> None:
        with self._lock:
            self._turns = turns
            self._function = function

    def _record(self, path: str, body: Json, headers: Mapping[str, str]) -> Request:
        function = MODEL_ENDPOINTS[path].unscripted or self._function
        made = turn_made_by(function, body) if function else None
        with self._lock:
            turn = made or next(self._turns, OUT_OF_TURNS)
            lower = {name.lower(): value for name, value in headers.items()}
            request = Request(len(self._requests) + 1, path, body, lower, turn)
            self._requests.append(request)
        return request


def turn_made_by(function: Answer, body: Json) -> Turn:
    # A mistake in a test's function must reach that test, and must not be retried into a timeout.
    try:
        return function(body)
    except Exception as error:
        message = f"loopback server: the answer_with function failed: {error!r}"
        return Turn(status=500, error_message=message, headers=DO_NOT_RETRY)
