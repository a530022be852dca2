"""HTTP under the loopback server: reads a request, has it recorded and given a turn, sends the answer.

A request counts as answered from just before its last bytes leave, not after: a client that has its answer may ask
for the counts at once, before this thread runs again. If the client turns out to be gone, that is taken back.
"""

import contextlib
import json
import select
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.loopback.endpoints import FREE_ENDPOINTS, MODEL_ENDPOINTS, Endpoint, models_body
from tests.loopback.request import Request
from tests.loopback.stream import Event
from tests.loopback.turns import Json

Headers = Mapping[str, str]
Record = Callable[[str, Json, Headers], Request]

JSON_HEADERS = {"content-type": "application/json"}
STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}
LAST_CHUNK = b"0\r\n\r\n"


class Listener(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1, and can hang up on everyone: keep-alive clients never would."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, record: Record) -> None:
        self.record = record
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up_on_everyone(self) -> None:
        self.closing.set()
        for connection in tuple(self._connections):
            hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that go away are part of what is tested; anything else is a bug in this server.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection, any number of requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_GET(self) -> None:
        if self._path == "/v1/models":
            self._send_json(200, models_body(asked_by_anthropic="anthropic-version" in self.headers))
        else:
            self._send_unknown_path()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if free := FREE_ENDPOINTS.get(self._path):
            self._send_json(200, free(body))
        elif endpoint := MODEL_ENDPOINTS.get(self._path):
            self._answer(endpoint, self.server.record(self._path, body, self.headers))
        else:
            self._send_unknown_path()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it)
        """Nothing on stderr: requests are kept in `LoopbackServer.requests`."""

    @property
    def _path(self) -> str:
        return urlsplit(self.path).path

    def _answer(self, endpoint: Endpoint, request: Request) -> None:
        turn, number = request.turn, request.number
        headers = endpoint.request_id(number) | dict(turn.headers)
        self.server.closing.wait(turn.delay)
        try:
            if request.streamed and endpoint.events:
                self._send_stream(request, endpoint.events(turn, request.body, number), headers)
            elif turn.abort_after is not None:
                self._abort()
            elif turn.ok:
                request.answered = True
                self._send_json(turn.status, endpoint.body(turn, request.body, number), headers)
            else:
                self._send_json(turn.status, endpoint.error(turn, number), headers)
        except ConnectionError:
            request.answered = False
            self._abort()

    def _send_stream(self, request: Request, events: list[Event], headers: Headers) -> None:
        turn = request.turn
        self._send_head(turn.status, STREAM_HEADERS | dict(headers))
        for place, event in enumerate(events[: turn.abort_after], start=1):
            if place > 1:
                self._wait_for_next_chunk(turn.chunk_delay)
            request.answered = place == len(events) and turn.abort_after is None
            self.wfile.write(_chunk(event) + (LAST_CHUNK if request.answered else b""))
        if turn.abort_after is not None:
            self._abort()

    def _wait_for_next_chunk(self, delay: float) -> None:
        self.server.closing.wait(delay)
        if is_hung_up(self.connection):
            raise ConnectionAbortedError

    def _send_json(self, status: int, body: Json, headers: Headers | None = None) -> None:
        data = json.dumps(body).encode()
        self._send_head(status, JSON_HEADERS | {"content-length": str(len(data))} | dict(headers or {}))
        self.wfile.write(data)

    def _send_unknown_path(self) -> None:
        message = f"the loopback server has no {self.command} {self.path}"
        self._send_json(404, {"type": "error", "error": {"type": "not_found_error", "message": message}})

    def _send_head(self, status: int, headers: Headers) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _abort(self) -> None:
        self.close_connection = True
        hang_up(self.connection)


def hang_up(connection: socket.socket) -> None:
    # An orderly end, no reset: a reset may destroy chunks that the client has not read yet.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def is_hung_up(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""


def _chunk(event: Event) -> bytes:
    data = event.encode()
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
