"""A server on loopback that takes whatever a recorder delivers, and counts the spans and bytes in it.

It answers at once and reads later, so that the measured process waits for nobody.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

import zstandard  # comes with langsmith, and that with langchain-core

_LANGSMITH_RUN = re.compile(rb'name="post\.([0-9a-f-]{36})"')
#: LangSmith asks what the server can do. The real one takes compressed runs.
_ANSWER = b'{"instance_flags": {"zstd_compression_enabled": true}}'


class Delivery(NamedTuple):
    """What has come since the last time it was asked for. `size` is that of the bodies, unpacked."""

    spans: int
    size: int


class Body(NamedTuple):
    """A request as it came."""

    path: str
    kind: str
    encoding: str
    packed: bytes

    def unpacked(self) -> bytes:
        if self.encoding == "gzip":
            return gzip.decompress(self.packed)
        if self.encoding == "zstd":
            return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(self.packed))
        return self.packed


class Sink:
    """`with Sink() as sink`: listens at `sink.url`."""

    def __init__(self) -> None:
        self._bodies: list[Body] = []
        bodies = self._bodies

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                kind, encoding = self.headers["Content-Type"] or "", self.headers["Content-Encoding"] or ""
                bodies.append(Body(self.path, kind, encoding, self._body()))
                self._answer()

            do_PATCH = do_PUT = do_POST  # noqa: N815 (the names the server looks for)

            def do_GET(self) -> None:
                self._answer()

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def _answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(_ANSWER)))
                self.end_headers()
                self.wfile.write(_ANSWER)

            def log_message(self, *_: Any) -> None:
                """Nobody wants to read it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> Delivery:
        """All that has come, which is then forgotten."""
        taken, self._bodies[:] = list(self._bodies), []
        bodies = [(request, request.unpacked()) for request in taken]
        spans = {span for request, body in bodies for span in spans_in(request.path, request.kind, body)}
        return Delivery(len(spans), sum(len(body) for _, body in bodies))


def spans_in(path: str, kind: str, body: bytes) -> set[bytes]:
    """The ids of the spans in the body of one request; none if it carries something else."""
    if "multipart" in kind:
        return set(_LANGSMITH_RUN.findall(body))
    if path.endswith("/traces") and "protobuf" in kind:
        return set(_spans_in_otlp(body))
    if path.endswith(("/spans/batch", "/traces/batch")):  # Opik's: the outermost span is a trace
        return {span["id"].encode() for spans in json.loads(body).values() for span in spans}
    return set()


def _spans_in_otlp(body: bytes) -> list[bytes]:
    """A request holds resource spans (field 1), these scope spans (2), these spans (2), these their ids (2)."""
    scopes = [scope for resource in _field(body, 1) for scope in _field(resource, 2)]
    return [_field(span, 2)[0] for scope in scopes for span in _field(scope, 2)]


def _field(message: bytes, wanted: int) -> list[bytes]:
    """The length-delimited values of one field of a protobuf message."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 2:
            length, at = _varint(message, at)
            if number == wanted:
                found.append(message[at : at + length])
            at += length
        elif wire == 0:
            _, at = _varint(message, at)
        else:
            at += {1: 8, 5: 4}[wire]
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
