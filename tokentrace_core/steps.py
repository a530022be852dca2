"""Steps: when one begins, which calls belong to it, and when it is over.

Every model call of a loop opens that loop's next step, unless the user's own code has opened one round it. A
tool call belongs to the step whose model asked for it. A step is over when the next one of its loop has begun
and nothing it asked for is outstanding; at the latest with its run. What a program does after `with step:` and before the
next one is the acting that follows the thinking: it belongs to that step, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokentrace_core import signals
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
        id=run.timeline.span_id(),
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


def step_of_tool(
    node: Node, name: str, arguments: Any, tool_call_id: str | None, events: list[Event]
) -> tuple[OpenStep, str | None]:
    """The step whose model asked for this tool, else the one under way here, else a new one; and the call's id.

    A framework that does not pass the id on has the model's latest call of that name, with these arguments first.
    """
    if tool_call_id is None and node.loop.step is not None:
        tool_call_id = _asked_for(node.loop.step, name, arguments)
    asked_by = node.run.asked.pop(tool_call_id, None) if tool_call_id else None
    if asked_by is not None:
        asked_by.asked.pop(tool_call_id or "", None)
        return asked_by, tool_call_id
    return under_way(node) or new_step(node.run, node.loop, None, events), tool_call_id


def under_way(node: Node) -> OpenStep | None:
    """The step that whatever begins here belongs to, if it is no step of its own."""
    return node.fixed_step or node.loop.step or node.step


def _asked_for(step: OpenStep, name: str, arguments: Any) -> str | None:
    """The id of the call that the model asked for by this name."""
    same = [(call_id, call) for call_id, call in step.asked.items() if call.get("name") == name]
    exactly = (call_id for call_id, call in same if call.get("arguments") == arguments)
    return next(exactly, same[0][0] if same else None)


def expect_tool(node: Node, asked: Mapping[str, Any]) -> None:
    """This model call has asked for a tool (its id, name and arguments): it will belong to the same step."""
    if node.step is not None:
        node.run.asked[asked["id"]] = node.step
        node.step.asked[asked["id"]] = asked


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
    if step.ended:  # the user's own step, left before this tool was called
        step.span.ended_at = call.ended_at
        _note_totals(node.run, step.span)
        events.append((signals.step_updated, {"step": step.span}))
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
    _note_totals(run, span)
    events.append((signals.step_ended, {"step": span}))


def _note_totals(run: OpenRun, span: Step) -> None:
    span.cumulative_cost_nano_usd = run.root.cost_nano_usd
    span.cumulative_tokens = run.root.input_tokens + run.root.output_tokens
