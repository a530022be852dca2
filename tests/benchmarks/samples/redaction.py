"""What it costs to clear texts of secrets: alone, and in a recorded tool call, on the agent's thread and off it."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.samples import Place
from tests.benchmarks.samples.timing import Seconds, cpu
from tests.benchmarks.texts import DOTTED, LETTERS, ORDERS, PAGE
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
TEXTS = {"prose": PAGE, "JSON": ORDERS, "text with PII": LETTERS, "hostile: dotted words": DOTTED}


def measure(_: Place, texts: int) -> dict[str, Any]:
    """µs of CPU per KB, by the kind of text."""
    return {name: _figures(text, texts) for name, text in TEXTS.items()}


def _figures(text: str, count: int) -> dict[str, float]:
    several = [f"{number} {text}" for number in range(count)]
    kilobytes = sum(len(one) for one in several) / 1_000
    redactor = Redactor()
    redactor.redact(text)
    recorded, without_rules = _in_a_trace(redactor, several), _in_a_trace(Redactor(rules=()), several)
    seconds = {
        "patterns": cpu(lambda: [_substitute(one) for one in several]).process,
        "redactor": cpu(lambda: [redactor.redact(one) for one in several]).process,
        "on": recorded.thread - without_rules.thread,
        "off": recorded.others - without_rules.others,
    }
    return {name: spent / kilobytes * 1e6 for name, spent in seconds.items()}


def _substitute(text: str) -> str:
    for pattern in PLAIN:
        text = pattern.sub("[REDACTED]", text)
    return text


def _in_a_trace(redactor: Redactor, texts: list[str]) -> Seconds:
    """A tool call with each of the texts, recorded and stored."""
    with TemporaryDirectory() as folder, Tracer(Path(folder) / "traces.db", redactor=redactor) as tracer:
        recorder = tracer.recorder
        recorder.open_run("run", "run")

        def record(number: int, text: str) -> None:
            recorder.open_tool(number, "tool", parent="run", arguments=text)
            recorder.close_tool(number, None)

        def record_all() -> None:
            for number, text in enumerate(texts):
                record(number, text)
            tracer.flush()

        record(-1, texts[0])
        tracer.flush()
        return cpu(record_all)
