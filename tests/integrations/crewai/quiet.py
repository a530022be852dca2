"""CrewAI kept quiet and off the network. Import this before CrewAI: some of it is read only then."""

from __future__ import annotations

import os
import tempfile

os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "CREWAI_STORAGE_DIR": tempfile.mkdtemp(prefix="tokentrace-crewai-"),
}

import anthropic  # noqa: F401  CrewAI imports its clients late, and they take seconds
import openai  # noqa: F401
