"""Opik: a tracer for LangChain that sends to a self-hosted server."""

from __future__ import annotations

import os

from tests.benchmarks.attached import Attached
from tests.benchmarks.samples import Place


def attach(place: Place) -> Attached:
    os.environ |= {
        "OPIK_URL_OVERRIDE": f"{place.sink}/api",
        "OPIK_WORKSPACE": "default",
        "OPIK_SENTRY_ENABLE": "False",
    }
    from opik.integrations.langchain import OpikTracer  # reads the environment when imported

    handler = OpikTracer(project_name="benchmark")
    return Attached([handler], handler, handler.flush)
