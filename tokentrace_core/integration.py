"""What an integration may import of the core, besides the public names of `tokentrace_core`.

A handler says the recorder's verbs (`tracer.recorder`), each method behind `shielded`; its mapping is made of
these functions and values.
"""

from tokentrace_core.context import current_session
from tokentrace_core.facts import at, cache_lifetime, content_of, request_parameters, run_facts
from tokentrace_core.pricing import estimate_tokens
from tokentrace_core.recorder import Recorder
from tokentrace_core.replies import Reply, arguments_of, read_reply
from tokentrace_core.shield import shielded
from tokentrace_core.usage import read_any_usage, read_usage

__all__ = [
    "Recorder",
    "Reply",
    "arguments_of",
    "at",
    "cache_lifetime",
    "content_of",
    "current_session",
    "estimate_tokens",
    "read_any_usage",
    "read_reply",
    "read_usage",
    "request_parameters",
    "run_facts",
    "shielded",
]
