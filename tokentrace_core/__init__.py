"""tokentrace: what every agent run cost, why, and a stop before it costs too much."""

from tokentrace_core import signals
from tokentrace_core.budget import Budget
from tokentrace_core.errors import BudgetExceeded, MissingExtra, StoreError, TokentraceError, UnknownRun
from tokentrace_core.pricing import Discount, ModelPrice, PriceBook
from tokentrace_core.redact import Redactor
from tokentrace_core.spans import LLMCall, Run, RunPart, Score, Session, Step, ToolCall
from tokentrace_core.store.retention import Retention
from tokentrace_core.tracer import Tracer, default_tracer
from tokentrace_core.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "Budget",
    "BudgetExceeded",
    "Discount",
    "LLMCall",
    "MissingExtra",
    "ModelPrice",
    "PriceBook",
    "Redactor",
    "Retention",
    "Run",
    "RunPart",
    "Score",
    "Session",
    "Step",
    "StoreError",
    "TokentraceError",
    "ToolCall",
    "Tracer",
    "UnknownRun",
    "Usage",
    "default_tracer",
    "signals",
]
