"""One line puts the headers on every request of the usual HTTP clients, and takes nothing else from them."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import requests
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from tests.travel.test_trace_headers import check
from tokentrace_core import Tracer
from tokentrace_core.store.reader import Reader
from tokentrace_langchain import TokentraceHandler


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that came."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of the echo."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def by_httpx(tracer: Tracer, url: str) -> Any:
    with httpx.Client(event_hooks={"request": [tracer.inject]}) as client:
        return client.get(url).json()


def by_httpx_async(tracer: Tracer, url: str) -> Any:
    async def get() -> Any:
        async with httpx.AsyncClient(auth=tracer.inject) as client:
            return (await client.get(url)).json()

    return asyncio.run(get())


def by_requests(tracer: Tracer, url: str) -> Any:
    return requests.get(url, auth=tracer.inject, timeout=10).json()


def by_requests_session(tracer: Tracer, url: str) -> Any:
    with requests.Session() as session:
        session.auth = tracer.inject
        return session.get(url, timeout=10).json()


def by_urllib(tracer: Tracer, url: str) -> Any:
    with urllib.request.urlopen(tracer.inject(urllib.request.Request(url)), timeout=10) as answer:
        return json.load(answer)


CLIENTS = [by_httpx, by_httpx_async, by_requests, by_requests_session, by_urllib]


@pytest.mark.parametrize("get", CLIENTS, ids=lambda client: client.__name__)
def test_a_request_made_in_a_run_names_the_run(
    tracer: Tracer, url: str, get: Callable[[Tracer, str], Any]
) -> None:
    with (
        tracer.session("ticket 4711"),
        tracer.run("agent") as run,
        run.step("think"),
        run.tool("service") as called,
    ):
        came = {name.lower(): value for name, value in get(tracer, url).items()}
        call = called.span
    assert call is not None
    ours = {
        name: came[name] for name in ("traceparent", "x-agent-run-id", "x-agent-step", "x-agent-session-id")
    }
    check(ours)
    assert ours == {
        "traceparent": f"00-{run.id}-{call.id}-01",
        "x-agent-run-id": run.id,
        "x-agent-step": "1",
        "x-agent-session-id": "ticket%204711",
    }


@pytest.mark.parametrize("get", CLIENTS, ids=lambda client: client.__name__)
def test_a_request_made_outside_of_any_run_stays_as_it_is(
    tracer: Tracer, url: str, get: Callable[[Tracer, str], Any]
) -> None:
    assert not {"traceparent", "X-Agent-Run-Id"} & set(get(tracer, url))


@pytest.mark.parametrize("request_", [None, object(), 3, {"headers": {}}])
def test_what_is_no_request_comes_back_as_it_is(tracer: Tracer, request_: Any) -> None:
    with tracer.run("agent"):
        assert tracer.inject(request_) is request_


def test_headers_that_refuse_items_do_not_stop_the_request(tracer: Tracer) -> None:
    class Sealed:
        headers = ()

    with tracer.run("agent"):
        assert isinstance(tracer.inject(Sealed()), Sealed)


def test_in_a_frameworks_tool_the_headers_are_those_of_that_tool_call(
    tracer: Tracer, stored: Callable[[], Reader]
) -> None:
    sent: list[dict[str, str]] = []

    @tool
    def ask(question: str) -> str:
        """Asks a service."""
        sent.append(tracer.headers())
        return "Yes."

    handler = TokentraceHandler(tracer)
    RunnableLambda(lambda question: ask.invoke({"question": question})).invoke(
        "Well?", config={"callbacks": [handler], "metadata": {"session_id": "ticket 4711"}}
    )
    [row] = stored().query("select run_id, id from tool_calls")
    [headers] = sent
    check(headers)
    assert headers["traceparent"] == f"00-{row['run_id']}-{row['id']}-01"
    assert headers["X-Agent-Session-Id"] == "ticket%204711"
