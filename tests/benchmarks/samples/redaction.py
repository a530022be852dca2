"""What it costs to clear texts of secrets: alone, and in a recorded tool call, on the agent's thread and off it."""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.samples import Place
from tests.benchmarks.workload import PAGE
from tokentrace_core import Redactor, Tracer

#: The five patterns that everybody writes first, one after another.
PLAIN = [
    re.compile(pattern)
    for pattern in (
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
        r"\b(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]?\d{3}[-. ]?\d{4}\b",
        r"\b\d{3}-\d{2}-\d{4}\b",
        r"\b(?:\d[ -]?){13,16}\b",
        r"\b(?:sk|pk|api|key)[-_][A-Za-z0-9_-]{16,}\b",
    )
]
_ORDERS = json.dumps(
    [{"id": 10_000 + i, "total": 19.99 * i, "at": f"2026-11-{i % 28 + 1:02}"} for i in range(36)]
)
_LETTERS = "Dear Ada, write to ada.lovelace@example.org or call +1 415 555 0134 about order {}. " * 24
TEXTS = {"prose": PAGE, "JSON": _ORDERS, "text with PII": _LETTERS, "hostile: dotted words": "aaaa." * 1_600}


def measure(_: Place, texts: int) -> dict[str, Any]:
    """µs of CPU per KB, by the kind of text."""
    return {name: _figures(text, texts) for name, text in TEXTS.items()}


def _figures(text: str, count: int) -> dict[str, float]:
    several = [f"{number} {text}" for number in range(count)]
    kilobytes = sum(len(one) for one in several) / 1_000
    redactor = Redactor()
    redactor.redact(text)
    on, off = _in_a_trace(Redactor(), several)
    plain_on, plain_off = _in_a_trace(Redactor(rules=()), several)
    seconds = {
        "patterns": _cpu(lambda: [_substitute(one) for one in several])[0],
        "redactor": _cpu(lambda: [redactor.redact(one) for one in several])[0],
        "on": on - plain_on,
        "off": off - plain_off,
    }
    return {name: spent / kilobytes * 1e6 for name, spent in seconds.items()}


def _substitute(text: str) -> str:
    for pattern in PLAIN:
        text = pattern.sub("[REDACTED]", text)
    return text


def _in_a_trace(redactor: Redactor, texts: list[str]) -> tuple[float, float]:
    """CPU seconds of the calling thread, and of the others, for a tool call with each of the texts."""
    with TemporaryDirectory() as folder, Tracer(Path(folder) / "traces.db", redactor=redactor) as tracer:
        recorder = tracer.recorder
        recorder.open_run("run", "run")
        recorder.open_tool("first", "tool", parent="run", arguments=texts[0])
        recorder.close_tool("first", texts[0])
        tracer.flush()

        calling = 0.0

        def record() -> None:
            for number, text in enumerate(texts):
                recorder.open_tool(number, "tool", parent="run", arguments=text)
                recorder.close_tool(number, None)

        def record_and_store() -> None:
            nonlocal calling
            calling, _ = _cpu(record)
            tracer.flush()

        _, everything = _cpu(record_and_store)
    return calling, everything - calling


def _cpu(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this thread, and of all of them."""
    gc.collect()
    gc.freeze()
    thread, process = time.thread_time(), time.process_time()
    work()
    return time.thread_time() - thread, time.process_time() - process
