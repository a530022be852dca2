"""Opik: a tracer for LangChain that sends to a self-hosted server."""

from __future__ import annotations

import os
from pathlib import Path

from tests.benchmarks.attached import Attached


def attach(_: Path, sink: str) -> Attached:
    os.environ |= {
        "OPIK_URL_OVERRIDE": f"{sink}/api",
        "OPIK_WORKSPACE": "default",
        "OPIK_SENTRY_ENABLE": "False",
    }
    from opik.integrations.langchain import OpikTracer  # reads the environment when imported

    handler = OpikTracer(project_name="benchmark")
    return Attached([handler], handler, handler.flush)
