"""tokentrace for LlamaIndex.

tokentrace_llama_index.instrument(tracer)                                    # the whole process
Settings.callback_manager = CallbackManager([TokentraceHandler(tracer)])     # the same, in the older idiom
"""

from tokentrace_core import MissingExtra

try:
    import llama_index.core as _  # noqa: F401
except ImportError as _error:
    raise MissingExtra("tokentrace_llama_index", "llama-index-core", "llama-index") from _error

from tokentrace_llama_index.process_wide import TokentraceHandler, instrument, uninstrument

__all__ = ["TokentraceHandler", "instrument", "uninstrument"]
