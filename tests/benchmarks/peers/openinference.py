"""OpenInference: a LangChain instrumentor on a plain OpenTelemetry SDK with its batch processor."""

from __future__ import annotations

from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.benchmarks.attached import Attached, attached_to_process
from tests.benchmarks.samples import Place


def attach(place: Place) -> Attached:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{place.sink}/v1/traces")))
    LangChainInstrumentor().instrument(tracer_provider=provider)
    return attached_to_process(provider.force_flush)
