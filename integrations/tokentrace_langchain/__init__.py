"""tokentrace for LangChain and LangGraph.

agent.invoke(question, config={"callbacks": [TokentraceHandler(tracer)]})     # one call
tokentrace_langchain.instrument(tracer)                                      # the whole process
"""

from tokentrace_core import MissingExtra

try:
    import langchain_core as _  # noqa: F401
except ImportError as _error:
    raise MissingExtra("tokentrace_langchain", "langchain-core", "langchain") from _error

from tokentrace_langchain.handler import TokentraceHandler
from tokentrace_langchain.process_wide import instrument, uninstrument

__all__ = ["TokentraceHandler", "instrument", "uninstrument"]
