"""LangSmith: the tracer that comes with langchain-core."""

from __future__ import annotations

from pathlib import Path

from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client

from tests.benchmarks.attached import Attached


def attach(_: Path, sink: str) -> Attached:
    client = Client(api_url=sink, api_key="none")
    handler = LangChainTracer(client=client, project_name="benchmark")
    return Attached([handler], handler, client.flush)
