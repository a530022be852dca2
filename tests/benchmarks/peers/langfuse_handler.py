"""Langfuse: a client that exports spans, and a callback handler that makes them."""

from __future__ import annotations

from langfuse import Langfuse
from langfuse.langchain import CallbackHandler

from tests.benchmarks.attached import Attached
from tests.benchmarks.samples import Place


def attach(place: Place) -> Attached:
    client = Langfuse(public_key="none", secret_key="none", base_url=place.sink)
    handler = CallbackHandler()
    return Attached([handler], handler, client.flush)
