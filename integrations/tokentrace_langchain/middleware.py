"""A graceful end: an agent that hears that its budget runs out, and answers with what it has.

A budget stops a run by raising. Somebody still waits for an answer, so this middleware of `create_agent` ends the run
before that: from `wrap_up_at` on the model is asked to answer, and when nothing is left the run ends without an exception.

    agent = create_agent(model, tools, middleware=[WrapUp(tracer)])
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain_core.messages import AIMessage, HumanMessage

from tokentrace_core import Tracer, default_tracer

_PLEASE = "The budget of this task is almost used up. Call no more tools: answer now, with what you know, and say what is missing."


class WrapUp(AgentMiddleware[Any, Any, Any]):
    """Ends an agent before its budget does. The tracer must be the one whose handler records the agent.

    `wrap_up_at`: the part of the nearest limit from which on the model has to answer. `end_at`: from which on it is
    not asked any more.
    """

    def __init__(
        self,
        tracer: Tracer | None = None,
        *,
        wrap_up_at: float = 0.8,
        end_at: float = 1.0,
        please: str = _PLEASE,
    ) -> None:
        super().__init__()
        self._tracer = tracer or default_tracer()
        self._wrap_up_at = wrap_up_at
        self._end_at = end_at
        self._please = please

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """End here if nothing is left."""
        pressure = self._tracer.budget_pressure()
        if pressure < self._end_at:
            return None
        said = f"Stopped: {pressure:.0%} of the budget is used."
        return {"messages": [AIMessage(said)], "jump_to": "end"}

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """Ask for the answer if it is time."""
        return handler(self._wrapping_up(request))

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """The same, awaited."""
        return await handler(self._wrapping_up(request))

    def _wrapping_up(self, request: Any) -> Any:
        if self._tracer.budget_pressure() < self._wrap_up_at:
            return request
        return request.override(messages=[*request.messages, HumanMessage(self._please)])
