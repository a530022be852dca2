"""The verbs for runs, their parts, and steps of the user's own code: how they begin, wait, fail and end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from tokentrace_core import context, model_calls, steps
from tokentrace_core.open_spans import Node
from tokentrace_core.prompts import ToMessage
from tokentrace_core.recording import Recording, as_is
from tokentrace_core.replies import Reply
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall, Run, Step, ToolCall, status_of
from tokentrace_core.trace_headers import Origin

_NOTHING = Reply()


class RunVerbs(Recording):
    """Also the ends that calls share with them: `fail`, `cancel` and `wait`."""

    # ── runs and their parts ─────────────────────────────────────────────────────────────────────────

    def open_run(
        self,
        key: Hashable,
        name: str,
        *,
        session: str | None = None,
        resume: bool = False,
        **facts: Any,
    ) -> Run:
        """A request began.

        `facts`: framework, user, input, task_type, agent_version, environment, tags, attributes. Inside
        another run it is a nested agent of that run, which is then returned. With `resume`, the run of this
        session that stopped goes on.
        """
        with self._lock:
            events: list[Event] = []
            run = self._open_run(key, name, session, resume, facts, events)
            events += self._early_end(key)
        self._tell(events)
        return run

    def continue_run(self, key: Hashable, name: str, origin: Origin, **facts: Any) -> Run:
        """A request of another process goes on here: a part of its run, as long as it is open under this key.

        In the process that began the run, it is a nested agent. From nobody, it is a run of its own. `facts`: as of
        `open_run`; of a part only the user, the environment and the attributes are kept.
        """
        if origin.run_id is None:
            return self.open_run(key, name, **{**facts, "session": origin.session_id or facts.get("session")})
        with self._lock:
            events: list[Event] = []
            asked = self._runs.nodes.get(key) or self._runs.known_here(origin)
            if asked is None:
                run = self._runs.join(key, name, origin, facts, events).run
            else:
                run = asked.run
                if key not in self._runs.nodes:
                    self._runs.add(Node(key, run, asked, self._sealer.name(name)))
            events += self._early_end(key)
        self._tell(events)
        return run.root

    def nest(
        self,
        key: Hashable,
        parent: Hashable,
        name: str | None = None,
        *,
        in_loop: bool = False,
        step_name: str | None = None,
    ) -> bool:
        """A part that is not recorded itself: what happens inside finds its place through it.

        `in_loop`: the parent is an agent, and this is a part of its loop. `step_name`: what the steps inside are
        called that have no name of their own. False if the parent is unknown.
        """
        with self._lock:
            above = self._runs.nodes.get(parent)
            if above is None:
                return False
            if key not in self._runs.nodes:
                if in_loop:
                    above.own_loop()
                else:
                    above = self._runs.place(parent) or above
                node = self._runs.add(Node(key, above.run, above, self._sealer.name(name)))
                node.step_name = self._sealer.name(step_name) or node.step_name
            return True

    def leave(self, key: Hashable) -> bool:
        """A part opened with `nest` is over. False if the key is a run's own, which has to be closed."""
        with self._lock:
            node = self._runs.nodes.get(key)
            if node is not None and node.parent is not None and node.span is None and not node.closed:
                self._runs.finish(node)
            return node is None or node.parent is not None

    def close_run(self, key: Hashable, output: Any = None, *, asked: Any = None) -> None:
        """The request was answered. A run that has begun to wait for a human is `waiting` from here.

        `asked`: its input, if that was not known when it began.
        """

        def close(node: Node) -> list[Event]:
            if asked is not None and node.parent is None:
                node.run.root.input = node.run.root.input or self._sealer.seal(asked)
            return self._ends.part(node, output, None)

        self._end(key, close)

    def wait(self, key: Hashable, *questions: Any) -> None:
        """This part stopped to ask a human; the run is `waiting` as soon as it returns."""

        def stop(node: Node) -> list[Event]:
            node.run.ask(questions)
            if isinstance(node.span, ToolCall):
                # it is called again with the answer
                node.run.unanswered.add(node.span.tool_call_id or node.span.name)
                if node.span.tool_call_id:
                    steps.expect_tool(node, {"id": node.span.tool_call_id, "name": node.span.name})
                return self._ends.call(node, node.span, "waiting", [])
            return self._ends.part(node, None, None)

        self._end(key, stop)

    def fail(
        self,
        key: Hashable,
        error: BaseException,
        *,
        arrived: Reply = _NOTHING,
        to_message: ToMessage = as_is,
    ) -> None:
        """It raised. `arrived`: what there was of a model's reply by then, which is billed."""

        def end(node: Node) -> list[Event]:
            if isinstance(node.span, LLMCall):
                come = model_calls.what_came(node, arrived)
                return self._ends.failed_llm(node, node.span, error, come, to_message)
            if isinstance(node.span, ToolCall):
                self._ends.blame(node.span, error)
                return self._ends.call(node, node.span, status_of(error), [])
            if isinstance(node.span, Step):
                return self._ends.step(node, error)
            return self._ends.part(node, None, error)

        self._end(key, end)

    def cancel(self, key: Hashable, *, output: Any = None) -> None:
        """It was abandoned by its caller."""
        self.fail(key, GeneratorExit(), arrived=Reply(output=output))

    # ── steps of the user's own code ─────────────────────────────────────────────────────────────────

    def open_step(
        self, key: Hashable, name: str | None = None, *, parent: Hashable | None = None
    ) -> Step | None:
        """The user's own code begins a step; calls inside it belong to it. None if this key is already known."""
        with self._lock:
            if key in self._runs.nodes:
                return None
            events: list[Event] = []
            node = self._runs.below(key, parent, name or "step", events)
            step = steps.new_step(node.run, node.loop, self._sealer.name(name), events, explicit=True)
            node.span, node.step, node.fixed_step = step.span, step, step
            events += self._early_end(key)
        self._tell(events)
        return step.span

    def close_step(self, key: Hashable, reasoning: str | None = None) -> None:
        """The step is over. `reasoning`: the model's summary of why it did what it did."""

        def close(node: Node) -> list[Event]:
            if not isinstance(node.span, Step):
                return []
            node.span.reasoning = self._sealer.seal(reasoning, "reasoning")
            return self._ends.step(node, None)

        self._end(key, close)

    def _open_run(
        self,
        key: Hashable,
        name: str,
        session: str | None,
        resume: bool,
        facts: Mapping[str, Any],
        events: list[Event],
    ) -> Run:
        around = self._runs.nodes.get(key) or self._runs.here()
        if around is not None:
            if key not in self._runs.nodes:
                self._runs.add(Node(key, around.run, around, self._sealer.name(name)))
            return around.run.root
        ambient = context.current_session()
        session = session or (ambient.id if ambient else None)
        if resume and session and (resumed := self._runs.resume(key, session, events)):
            return resumed
        return self._runs.open(key, name, {"session": session, **facts}, events).run.root
