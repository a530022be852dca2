"""Structured logs: what a tracer records, as one JSON object a line, beside the trace file.

    log = attach(tracer, "agent.log")        # a file, or any handler
    attach(tracer)                           # only to the loggers, as your own logging is set up

Events go to the loggers `tokentrace` and `tokentrace.llm`, whose levels, handlers and propagation stay as you have set
them; a file or handler of one's own gets them directly, whatever those say. Nothing is buffered and no other thread is
needed, so the log is there when the database is not, and after a kill.

Amounts of money stand once, in the line of the call that cost them: their sum is that of the database. No line has
a prompt, an answer, an argument, a result or an error's text, but for `tokentrace.llm` at DEBUG, redacted.
"""

from __future__ import annotations

from tokentrace_core.logs.attach import RunLog, attach
from tokentrace_core.logs.form import DebugOfRuns, JsonLines

__all__ = ["DebugOfRuns", "JsonLines", "RunLog", "attach"]
