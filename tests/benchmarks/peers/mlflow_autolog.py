"""MLflow: autolog of LangChain into a SQLite file, written as its default is."""

from __future__ import annotations

import mlflow

from tests.benchmarks.attached import FILE, Attached, attached_to_process, counted
from tests.benchmarks.samples import Place


def attach(place: Place) -> Attached:
    mlflow.set_tracking_uri(f"sqlite:///{place.folder / FILE}")
    mlflow.set_experiment("benchmark")
    mlflow.langchain.autolog()
    spans = "select count(*) from spans"
    return attached_to_process(mlflow.flush_trace_async_logging, lambda: counted(place.folder / FILE, spans))
