"""Steps: when one begins, which calls belong to it, and when it is over.

Every model call of a loop opens that loop's next step, unless the user's own code has opened one round it. A
tool call belongs to the step whose model asked for it. A step is over when the next one of its loop has begun
and nothing it asked for is outstanding; at the latest with its run.
"""

from __future__ import annotations

from tokentrace_core import signals
from tokentrace_core.ids import new_span_id
from tokentrace_core.open_spans import Loop, Node, OpenRun, OpenStep
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall, Status, Step, ToolCall


def new_step(
    run: OpenRun, loop: Loop, name: str | None, events: list[Event], *, explicit: bool = False
) -> OpenStep:
    """The loop's next step. `explicit`: opened, and to be closed, by the user's own code."""
    before = loop.step
    run.root.steps += 1
    loop.steps += 1
    span = Step(
        id=new_span_id(),
        run_id=run.root.id,
        number=run.root.steps,
        agent=loop.agent,
        agent_step=loop.steps,
        parent_call_id=loop.parent_call_id,
        name=name,
        started_at=run.clock.now(),
    )
    loop.step = run.steps[span.id] = OpenStep(span, loop, explicit=explicit)
    if before is not None:
        before.superseded = True
        end_if_done(run, before, events)
    events.append((signals.step_started, {"step": span}))
    return loop.step


def step_of_tool(node: Node, tool_call_id: str | None, events: list[Event]) -> OpenStep:
    """The step whose model asked for this tool, else the one under way here, else a new one."""
    asked_by = node.run.asked.pop(tool_call_id, None) if tool_call_id else None
    if asked_by is not None:
        asked_by.asked.discard(tool_call_id or "")
        return asked_by
    return under_way(node) or new_step(node.run, node.loop, None, events)


def under_way(node: Node) -> OpenStep | None:
    """The step that whatever begins here belongs to, if it is no step of its own."""
    latest = node.loop.step if node.loop.step and not node.loop.step.ended else None
    return node.fixed_step or latest or node.step


def expect_tool(node: Node, tool_call_id: str) -> None:
    """This model call has asked for a tool: the call will belong to the same step."""
    if node.step is not None:
        node.run.asked[tool_call_id] = node.step
        node.step.asked.add(tool_call_id)


def call_ended(node: Node, call: LLMCall | ToolCall, status: Status, events: list[Event]) -> None:
    """A call of the node's step is over."""
    step = node.step
    if step is None:
        return
    step.calls -= 1
    if not step.explicit:
        step.span.ended_at = call.ended_at
        if isinstance(call, LLMCall) and status not in ("success", "waiting"):
            step.span.status = status
    end_if_done(node.run, step, events)


def end_if_done(run: OpenRun, step: OpenStep, events: list[Event]) -> None:
    if step.done:
        end_step(run, step, events)


def end_step(run: OpenRun, step: OpenStep, events: list[Event]) -> None:
    """End it, once; a step whose model call failed has that status already."""
    if step.ended:
        return
    step.ended = True
    run.steps.pop(step.span.id, None)
    span = step.span
    if span.status == "running":
        span.status = "success"
    if span.ended_at is None or step.explicit:
        span.ended_at = run.clock.now()
    events.append((signals.step_ended, {"step": span}))
