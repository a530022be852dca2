"""MLflow: autolog of LangChain into a SQLite file, written as its default is."""

from __future__ import annotations

from pathlib import Path

import mlflow

from tests.benchmarks.attached import FILE, Attached, attached_to_process, counted


def attach(folder: Path, _: str | None) -> Attached:
    mlflow.set_tracking_uri(f"sqlite:///{folder / FILE}")
    mlflow.set_experiment("benchmark")
    mlflow.langchain.autolog()
    spans = "select count(*) from spans"
    return attached_to_process(mlflow.flush_trace_async_logging, lambda: counted(folder / FILE, spans))
