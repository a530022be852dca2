"""LangSmith: the tracer that comes with langchain-core."""

from __future__ import annotations

from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client

from tests.benchmarks.attached import Attached
from tests.benchmarks.samples import Place


def attach(place: Place) -> Attached:
    client = Client(api_url=place.sink, api_key="none")
    handler = LangChainTracer(client=client, project_name="benchmark")
    return Attached([handler], handler, client.flush)
