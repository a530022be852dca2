"""A LlamaIndex span, and what it is in the record: one fact each, none of which is ever missing.

LlamaIndex tells of every method of everything in the same way. What matters is told from whose method it is and
from the span above.
"""

from __future__ import annotations

from functools import cached_property
from inspect import BoundArguments
from typing import Any, Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.llms import CustomLLM
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import TransformComponent
from llama_index.core.tools import BaseTool
from llama_index.core.workflow import Workflow

Kind = Literal["call", "tool", "retrieval", "embedding", "part"]

#: A span's id is its class and method, and this many characters of a random id.
_RANDOM = len("-00000000-0000-0000-0000-000000000000")
_CALLS = {"chat", "complete", "stream_chat", "stream_complete"}
_EMBEDDINGS = {"get_query_embedding", "get_text_embedding", "get_text_embedding_batch"}
_USES = {"call", "acall", "__call__"}
#: What a span is in the record, by whose method it is; all others are only the way to those.
_KINDS: tuple[tuple[Kind, type, set[str]], ...] = (
    ("call", BaseLLM, _CALLS | {f"a{name}" for name in _CALLS}),
    ("retrieval", BaseRetriever, {"retrieve", "aretrieve"}),
    ("embedding", BaseEmbedding, _EMBEDDINGS | {f"a{name}" for name in _EMBEDDINGS}),
    ("tool", BaseTool, _USES),
)
#: What an agent's loop calls the step in which it asks its model; LangChain's agents call it so.
_AGENT_STEP = "model"


class Span(BaseSpan):
    """One call of a method: how it began, until it ends."""

    instance: Any
    arguments: BoundArguments

    @property
    def method(self) -> str:
        return _method_of(self.id_)

    @cached_property
    def kind(self) -> Kind:
        if self.method == "call_tool" and self.instance is None:
            return "tool"
        for kind, owner, methods in _KINDS:
            if self.method in methods and isinstance(self.instance, owner):
                return "part" if self._only_leads_to_another else kind
        return "part"

    @property
    def _only_leads_to_another(self) -> bool:
        """A tool inside an agent's tool call, and the methods of `CustomLLM`, which ask others of the same client."""
        own = getattr(getattr(type(self.instance), self.method, None), "__qualname__", None)
        in_tool = _method_of(self.parent_id) in {"call_tool", *_USES}
        return own == f"{CustomLLM.__name__}.{self.method}" or (self.method in _USES and in_tool)

    @property
    def is_request(self) -> bool:
        """Whether it is one if it is in no run: not the preparation of a call, and no mere handling of text."""
        if self.parent_id is not None or self.method.startswith("_"):
            return False
        if isinstance(self.instance, BaseLLM):  # what a stream asks is asked when it is read
            return not self.method.startswith(("stream", "astream"))
        return isinstance(self.instance, BaseEmbedding) or not isinstance(self.instance, TransformComponent)

    @property
    def name(self) -> str:
        """An agent's own name, else the class, else the function."""
        name = getattr(self.instance, "name", None) if isinstance(self.instance, Workflow) else None
        if isinstance(name, str) and name:
            return name
        return self.id_[:-_RANDOM] if self.instance is None else type(self.instance).__name__

    @property
    def in_loop(self) -> bool:
        """Whether this is a step of the workflow above."""
        return _method_of(self.parent_id) == "run"

    @property
    def agent(self) -> str | None:
        """Which agent of a workflow takes this step."""
        event = self.arguments.arguments.get("ev") if self._asks_model else None
        agent = getattr(event, "current_agent_name", None)
        return agent if isinstance(agent, str) else None

    @property
    def step_name(self) -> str | None:
        """The name of the steps that calls inside open."""
        return _AGENT_STEP if self._asks_model else None

    @property
    def _asks_model(self) -> bool:
        return self.method == "run_agent_step"


def _method_of(span_id: str | None) -> str:
    """`chat` of `OpenAI.chat-…`."""
    return (span_id or "")[:-_RANDOM].rpartition(".")[2]
