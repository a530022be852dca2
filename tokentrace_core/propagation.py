"""How a run goes on in another process: out with its headers, in with them.

requests.post(url, json=question, headers=tracer.headers())        # where the run is
with tracer.continue_from(request.headers): ...                    # in the service that is asked
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tokentrace_core.blocks import ContinuedBlock
from tokentrace_core.recorder import Recorder
from tokentrace_core.shield import shielded
from tokentrace_core.trace_headers import read_headers, write_headers

if TYPE_CHECKING:
    from tokentrace_core.tracer import Tracer

Request = TypeVar("Request")


class Propagation:
    """The part of a tracer that speaks to other processes."""

    recorder: Recorder

    def headers(self) -> dict[str, str]:
        """Headers that take the run which the calling code is part of to another process; also in a framework's tool.

        `traceparent` (W3C), `tracestate` if one came with the run, `X-Agent-Run-Id`, `X-Agent-Step` and
        `X-Agent-Session-Id` (percent-encoded). Outside of any run: none. Queues carry them as well as HTTP does, and
        so do arguments of a worker process.
        """
        return self.headers_at(None)

    def headers_at(self, key: Hashable | None) -> dict[str, str]:
        """The same from the open span behind a block's key."""
        place = shielded(self.recorder.whereabouts)(key)
        return {} if place is None else write_headers(place)

    def inject(self, request: Request) -> Request:
        """Put the headers on a request that is about to be sent, and give it back.

        `httpx.Client(event_hooks={"request": [tracer.inject]})`; as `auth=tracer.inject` for `httpx.AsyncClient` and
        requests. Any object will do whose `headers` take items; of any other nothing is asked.
        """
        shielded(_put_on)(request, self.headers())
        return request

    def continue_from(self, headers: object, name: str = "continued", **facts: Any) -> ContinuedBlock:
        """Go on with the run that these headers came from: what happens inside the block belongs to it.

        `headers`: any mapping (of bytes, too), pairs as in ASGI, or a WSGI environment. If they name no run, in whatever
        way, this is a run of its own. `facts`: as for `run`; of a run that goes on, only `user`, `environment` and
        `attributes` are kept, the rest is the first process's to say.

        Limits that are shared count what is spent here, for the user of the run if both write to one file, else for
        `user`. Limits of the run (`run_usd`, `tokens`) are this tracer's own: they hold for what is spent here, on top
        of what the file says was spent before; `steps` for the steps made here. Take headers from your own services
        only: who can name a run can add to it.
        """
        return ContinuedBlock(cast("Tracer", self), name, facts, read_headers(headers))


def _put_on(request: Any, headers: dict[str, str]) -> None:
    carried = getattr(request, "headers", None)
    if carried is not None:
        for name, value in headers.items():
            carried[name] = value
