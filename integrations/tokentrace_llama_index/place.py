"""Where the calling code is, by LlamaIndex's own note."""

from __future__ import annotations

from llama_index.core.instrumentation.span import active_span_id


def current_span_id() -> str | None:
    """The LlamaIndex span that this code is called from."""
    return active_span_id.get()
