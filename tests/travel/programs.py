"""A tool that is a service of its own, with a worker process: real processes and a real port.

`python -m tests.travel.programs FILE [WORKERS_FILE]` prints its port and serves until its input ends.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

from tokentrace_core import Budget, Tracer, Usage

#: What a call of each process uses. gpt-4o costs $2.50 and $10.00 per million tokens.
USAGE = Usage(input_uncached_tokens=1_000, output_tokens=100)
#: 1,000 x $2.50 + 100 x $10.00, per million.
NANO_PER_CALL = 3_500_000


def ask_a_model(block: Any, text: str = "Yes.") -> None:
    """One recorded model call, of `NANO_PER_CALL`."""
    with block.llm("gpt-4o", provider="openai", messages=[{"role": "user", "content": "Well?"}]) as call:
        call.done(text, usage=USAGE)


def work(path: str, headers: dict[str, str]) -> None:
    """The worker: two model calls, one per step."""
    with Tracer(path) as tracer, tracer.continue_from(headers, "worker") as part:
        for name in ("weigh", "decide"):
            with part.step(name) as step:
                ask_a_model(step)


def hang(path: str, headers: dict[str, str], say: Connection) -> None:
    """A worker that never comes back from a model call."""
    tracer = Tracer(path)
    with tracer.continue_from(headers, "worker") as part:
        part.llm("gpt-4o").begin()
        assert tracer.flush(10)
        say.send("in a call")
        time.sleep(600)


class Service(BaseHTTPRequestHandler):
    """Answers a tool call: asks a model, and has the worker do the rest."""

    tracer: Tracer
    workers_file: str

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.tracer.continue_from(self.headers, "service", user=body.get("user")) as part:
            with part.step("look up") as step:
                ask_a_model(step)
                if body.get("worker"):
                    child = multiprocessing.get_context("spawn").Process(
                        target=work, args=(self.workers_file, step.headers())
                    )
                    child.start()
                    child.join(30)
        assert self.tracer.flush(10)
        answer = json.dumps({"run": part.id, "steps": part.steps, "usd": str(part.cost_usd)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    Service.tracer = Tracer(sys.argv[1], budget=Budget(user_day_usd=1))
    Service.workers_file = sys.argv[2] if len(sys.argv) > 2 else sys.argv[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    server.shutdown()
    Service.tracer.close()


if __name__ == "__main__":
    main()
