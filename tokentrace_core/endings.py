"""How things end: a call, a step of the user's own, a run, and a run that nobody ends.

Every end goes through here once, and gives the events that announce it. A run's end closes what it left open,
so nothing stays `running` whose run is over.
"""

from __future__ import annotations

from typing import Any

from tokentrace_core import model_calls, signals, steps
from tokentrace_core.broken_off import without_loose_end
from tokentrace_core.joined_runs import JoinedRuns
from tokentrace_core.open_spans import Node, OpenRun
from tokentrace_core.pricing import PriceBook
from tokentrace_core.prompts import ToMessage
from tokentrace_core.replies import Reply
from tokentrace_core.sealing import Sealer
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall, Span, Status, ToolCall, status_of


class Endings:
    """Ends open parts. Used under the recorder's lock."""

    def __init__(self, runs: JoinedRuns, sealer: Sealer, prices: PriceBook) -> None:
        self._runs = runs
        self._sealer = sealer
        self._prices = prices

    def call(
        self,
        node: Node,
        call: LLMCall | ToolCall,
        status: Status,
        events: list[Event],
        answer: Any = None,
    ) -> list[Event]:
        """A call is over. `answer` becomes the output of a run that was opened for this call alone."""
        call.status, call.ended_at = status, node.run.clock.now()
        self._runs.finish(node)
        ended = signals.llm_call_ended if isinstance(call, LLMCall) else signals.tool_call_ended
        events.append((ended, {"call": call}))
        if node.run.part is None:
            events.append((signals.run_updated, {"run": node.run.root}))
        steps.call_ended(node, call, status, events)
        return events + self.implicit_run(node, call, answer)

    def failed_llm(
        self, node: Node, call: LLMCall, error: BaseException, arrived: Reply, to_message: ToMessage
    ) -> list[Event]:
        """A model call raised; what had arrived of its reply is billed."""
        events: list[Event] = []
        self.blame(call, error)
        call.model_answered = self._sealer.name(arrived.model)
        message = model_calls.take_output(
            node, call, arrived.output, lambda output: without_loose_end(to_message(output))
        )
        status = status_of(error)
        # A provider that answers with an error bills nothing; a reply broken off is billed.
        billed = arrived.usage is not None or message is not None or status in ("cancelled", "timeout")
        model_calls.settle(node, call, arrived.usage, message, self._prices, events, billed=billed)
        return self.call(node, call, status, events)

    def step(self, node: Node, error: BaseException | None) -> list[Event]:
        """A step that the user's own code opened is over."""
        events: list[Event] = []
        if node.step is not None:
            if error is not None:
                self.blame(node.step.span, error)
                node.step.span.status = status_of(error)
            self._runs.finish(node)
            steps.end_step(node.run, node.step, events)
            events += self.implicit_run(node, node.step.span)
        return events

    def part(self, node: Node, output: Any, error: BaseException | None) -> list[Event]:
        """A run, or a part of one that is not recorded itself, is over."""
        if node.span is not None:
            return []  # a call or a step, which ends by its own verb
        if node.parent is not None:
            self._runs.finish(node)
            return []
        events = self._all_open(node.run, "cancelled")
        return [*events, self._runs.close(node.run, output, error)]

    def implicit_run(self, node: Node, span: Span, answer: Any = None) -> list[Event]:
        """A run that was opened for a call alone ends with it, and as it did."""
        run = node.run
        if not run.implicit or any(not other.closed and other.parent for other in run.nodes.values()):
            return []
        events = self._all_open(run, "cancelled")
        ended = self._runs.close(run, answer, None)
        if span.status not in ("success", "running", "refused"):
            run.root.status, run.root.error_type, run.root.error = span.status, span.error_type, span.error
        return [*events, ended]

    def abandon(self, run: OpenRun) -> list[Event]:
        """Nobody will end this run: it is interrupted."""
        events = self._all_open(run, "interrupted")
        run.root.status, run.root.ended_at = "interrupted", run.clock.now()
        self._runs.forget(run)
        return [*events, self._runs.ended(run)]

    def blame(self, span: Span, error: BaseException) -> None:
        """An error is told; being called off is none."""
        if status_of(error) != "cancelled":
            self._sealer.blame(span, error)

    def _all_open(self, run: OpenRun, status: Status) -> list[Event]:
        """Close what a run has left open, innermost first."""
        events: list[Event] = []
        run.implicit = False  # the last of its calls must not end it a second time
        for node in sorted(run.nodes.values(), key=lambda node: -node.depth):
            if node.closed:
                continue
            node.closed = True
            if isinstance(node.span, LLMCall):
                model_calls.settle(node, node.span, None, None, self._prices, events)
            if isinstance(node.span, LLMCall | ToolCall):
                self.call(node, node.span, status, events)
        for step in list(run.steps.values()):
            steps.end_step(run, step, events)
        return events
