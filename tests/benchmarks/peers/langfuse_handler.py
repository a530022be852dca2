"""Langfuse: a client that exports spans, and a callback handler that makes them."""

from __future__ import annotations

from pathlib import Path

from langfuse import Langfuse
from langfuse.langchain import CallbackHandler

from tests.benchmarks.attached import Attached


def attach(_: Path, sink: str) -> Attached:
    client = Langfuse(public_key="none", secret_key="none", base_url=sink)
    handler = CallbackHandler()
    return Attached([handler], handler, client.flush)
