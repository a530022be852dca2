"""The recorders that others have built: what to install of each, and how it is attached.

All that a peer records goes to a server on loopback that counts what it is sent, or into a file.
"""

from __future__ import annotations

from typing import NamedTuple


class Peer(NamedTuple):
    """A recorder to compare with, and what to install for it."""

    title: str
    packages: tuple[str, ...]


#: By the name of the module that attaches it.
PEERS: dict[str, Peer] = {
    "langsmith_tracer": Peer("LangSmith `LangChainTracer`", ("langsmith",)),
    "langfuse_handler": Peer("Langfuse `CallbackHandler`", ("langfuse",)),
    "openinference": Peer(
        "OpenInference + OTel SDK",
        (
            "openinference-instrumentation-langchain",
            "opentelemetry-sdk",
            "opentelemetry-exporter-otlp-proto-http",
        ),
    ),
    # Traceloop's own SDK pins what the others have left behind; this is the instrumentation inside it.
    "openllmetry": Peer(
        "OpenLLMetry + OTel SDK",
        (
            "opentelemetry-instrumentation-langchain",
            "opentelemetry-sdk",
            "opentelemetry-exporter-otlp-proto-http",
        ),
    ),
    "mlflow_autolog": Peer("MLflow autolog, SQLite backend", ("mlflow",)),
    "opik_tracer": Peer("Opik `OpikTracer`", ("opik",)),
}
