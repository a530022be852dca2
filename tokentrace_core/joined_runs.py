"""Runs that another process began: what happens of them here is a part of them, and this process's own to end.

Two writers of one run would contradict each other, so a part never says how the run stands: its steps and calls are
rows of that run, and its totals are what all of its rows make (`store.parts`). A part has steps, an account and a place
in the tree of its own: it hangs below the span that asked for it. In the process that began the run it is no part, but
a nested agent of it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

from tokentrace_core import context, signals
from tokentrace_core.open_spans import Node, OpenRun
from tokentrace_core.runs import OpenRuns
from tokentrace_core.signals import Event
from tokentrace_core.spans import Run, RunPart
from tokentrace_core.trace_headers import Origin, Place


class SoFar(NamedTuple):
    """What the file says of a run that another process began."""

    user_id: str | None
    nano_usd: int
    tokens: int


LookUp = Callable[[str], SoFar | None]


class JoinedRuns(OpenRuns):
    """Also runs that are continued here. Used under the recorder's lock, but for `so_far`."""

    look_up: LookUp | None = None

    def known_here(self, origin: Origin) -> Node | None:
        """The part of this process's own run that asked, if it is one: an open one of that id, else the run itself."""
        run = self._runs.get(origin.run_id or "")
        if run is None:
            return None
        nodes = [node for node in run.nodes.values() if not node.closed]
        asked = (node for node in nodes if node.span is not None and node.span.id == origin.span_id)
        return next(asked, None) or next((node for node in nodes if node.parent is None), None)

    def join(
        self, key: Hashable, name: str, origin: Origin, facts: Mapping[str, Any], events: list[Event]
    ) -> Node:
        """A part of a run that another process began."""
        assert origin.run_id is not None
        seal, ambient = self._sealer, context.current_session()
        session = origin.session_id or facts.get("session") or (ambient.id if ambient else None)
        user = facts.get("user") or (ambient.user if ambient else None)
        span = Run(
            id=origin.run_id,
            run_id=origin.run_id,
            session_id=seal.session(session) if session else origin.run_id,
            user_id=None if user is None else seal.person(user),
            project=seal.name(self._written_on_all["project"]),
            name=seal.name(name) or "run",
            environment=seal.name(facts.get("environment") or self._written_on_all["environment"]),
            attributes=seal.facts(facts.get("attributes")),
            started_at=0,
        )
        run = OpenRun(span, self.account(), self._history(), self.timeline)
        span.started_at = run.clock.now()
        run.loop.parent_call_id = origin.span_id
        run.state = origin.state
        run.user_unknown = True
        run.part = RunPart(
            id=self.timeline.span_id(),
            run_id=span.id,
            parent_id=origin.span_id,
            name=span.name,
            session_id=span.session_id,
            user_id=span.user_id,
            project=span.project,
            environment=span.environment,
            started_at=span.started_at,
            attributes=span.attributes,
        )
        self._runs[run.id] = run
        events.append((signals.run_part_started, {"part": run.part}))
        self.take_over(run, self.so_far(run))
        return self.add(Node(key, run, None, span.name))

    def so_far(self, run: OpenRun) -> SoFar | None:
        """What the file says of the run, if that matters and is not known yet. Needs no lock."""
        wanted = run.user_unknown and run.account is not None and self.look_up is not None
        return self.look_up(run.root.id) if wanted and self.look_up is not None else None

    def take_over(self, run: OpenRun, so_far: SoFar | None) -> None:
        """Limits of a user hold wherever the user's run goes on; those of the run, for what others have spent, too."""
        root = run.root
        if so_far is None or run.account is None or not run.user_unknown:
            return
        run.user_unknown = False
        root.user_id = root.user_id or so_far.user_id
        own_tokens = root.input_tokens + root.output_tokens  # which may be in the file already
        run.account.take_over(
            max(so_far.nano_usd - root.cost_nano_usd, 0), max(so_far.tokens - own_tokens, 0)
        )

    def close(self, run: OpenRun, output: Any, error: BaseException | None) -> Event:
        event = super().close(run, output, error)
        return event if run.part is None else self.ended(run)

    def ended(self, run: OpenRun) -> Event:
        """How the end of a run is announced."""
        root, part = run.root, run.part
        if part is None:
            return signals.run_ended, {"run": root}
        part.status, part.error_type, part.error = root.status, root.error_type, root.error
        part.ended_at, part.user_id = root.ended_at, root.user_id
        return signals.run_part_ended, {"part": part}


def whereabouts(node: Node) -> Place:
    """Where a request is made: in which tool call, else in which step of its agent."""
    run = node.run
    loop = node.own_loop_if_any()
    step = node.fixed_step or loop.step or node.step
    if step is not None and (node.tool_id is None or step.loop.parent_call_id == node.tool_id):
        span_id = step.span.id
    else:
        # A process that did nothing itself passes on who asked it; the first one is the run itself.
        span_id = node.tool_id or loop.parent_call_id or _of_run(run.root.id)
    number = step.span.number if step is not None else 0
    return Place(run.root.id, span_id, number, run.root.session_id, run.state)


def _of_run(run_id: str) -> str:
    """A span id for what has none: no span's own, but for a chance that is none."""
    return run_id[16:] if run_id[16:].strip("0") else f"{1:016x}"
