"""tokentrace for CrewAI.

tokentrace_crewai.instrument(tracer)          # every crew, flow, agent and LLM of the process
TokentraceListener(tracer)                    # the same, for those who know CrewAI's event listeners
"""

from tokentrace_core import MissingExtra

try:
    import crewai as _  # noqa: F401
except ImportError as _error:
    raise MissingExtra("tokentrace_crewai", "crewai", "crewai") from _error

from tokentrace_crewai.gate import CrewBudgetExceeded
from tokentrace_crewai.handler import TokentraceListener, instrument, uninstrument

__all__ = ["CrewBudgetExceeded", "TokentraceListener", "instrument", "uninstrument"]
