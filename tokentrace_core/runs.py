"""The runs under way: finding one's place in them, opening, closing, waiting, resuming, giving up."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from itertools import islice, takewhile
from typing import Any

import msgspec

from tokentrace_core import context, signals
from tokentrace_core.account import Account
from tokentrace_core.budget import Budget
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.ids import Timeline
from tokentrace_core.ledger import Ledger
from tokentrace_core.open_spans import Node, OpenRun
from tokentrace_core.pricing import PriceBook
from tokentrace_core.prompts import PromptHistory
from tokentrace_core.sealing import Sealer
from tokentrace_core.shield import log_once, warn_once
from tokentrace_core.signals import Event
from tokentrace_core.spans import Run, Session, status_of

#: Tells which of a framework's ids the calling code runs under, from the framework's own notes.
Locator = Callable[[], Hashable | None]
Recall = Callable[[str], Run | None]

#: How many sessions, runs that can be resumed, and keys of what is over are remembered.
_SESSIONS = 1_000
_RESUMABLE = 256
_OVER = 4_096


class OpenRuns:
    """All runs under way, and all their nodes by the framework's ids. Used under the recorder's lock."""

    def __init__(
        self,
        owner: object,
        sealer: Sealer,
        prices: PriceBook,
        budget: Budget | None,
        written_on_all: Mapping[str, str | None],
        timeline: Timeline,
        *,
        give_up: Callable[[OpenRun], list[Event]],
        idle_s: float,
        open_runs: int,
    ) -> None:
        self.nodes: dict[Hashable, Node] = {}
        self.locators: list[Locator] = []
        self.recall: Recall | None = None
        self.ledger: Ledger | None = None
        self.timeline = timeline
        self._owner = owner
        self._sealer = sealer
        self._prices = prices
        self._budget = budget
        self._written_on_all = written_on_all
        self._give_up = give_up
        self._idle_s = idle_s
        self._open_runs = open_runs
        self._runs: OrderedDict[str, OpenRun] = OrderedDict()
        self._resumable: OrderedDict[str, OpenRun] = OrderedDict()
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._over: OrderedDict[Hashable, BudgetExceeded | None] = OrderedDict()

    # ── places ───────────────────────────────────────────────────────────────────────────────────────

    def here(self) -> Node | None:
        """The innermost open part that the calling code runs in, by our own blocks and the frameworks' notes."""
        ours = (self.nodes.get(frame.key) for frame in context.frames_of(self._owner))
        found = [next((node for node in ours if node is not None and not node.closed), None)]
        for locator in self.locators:
            try:
                found.append(self.nodes.get(locator()))
            except Exception as error:
                log_once("a locator failed", error)
        still_open = (node for node in found if node is not None and not node.closed)
        return max(still_open, key=lambda node: node.depth, default=None)

    def place(self, parent: Hashable | None) -> Node | None:
        """Where a part of this parent begins: in it, or further in, where the calling code has got to by now."""
        above, here = self.nodes.get(parent) if parent is not None else None, self.here()
        return here if above is None or (here is not None and here.is_within(above)) else above

    def below(
        self,
        key: Hashable,
        parent: Hashable | None,
        name: str,
        events: list[Event],
        facts_of_run: Callable[[], Mapping[str, Any]] | None = None,
    ) -> Node:
        """A new node under its parent, else where the calling code is, else in a run of its own with these facts."""
        above = self.place(parent)
        if above is None:
            facts = facts_of_run() if facts_of_run else {}
            self._warn_of_lost_budget()
            above = self.open(("run of", key), facts.get("name") or name, facts, events, implicit=True)
        return self.add(Node(key, above.run, above, self._sealer.name(name) or name))

    def _warn_of_lost_budget(self) -> None:
        """A thread inherits no context: its calls know of no run, and of no budget but one of their own."""
        if self._budget is not None and any(not run.implicit for run in self._runs.values()):
            warn_once(
                "a call was made outside any run while a run with a budget is open; it is a run of its own, and "
                "not counted in that budget. If it was made in a thread of that run, hand the thread "
                "tracer.carry(function)"
            )

    def add(self, node: Node) -> Node:
        self.nodes[node.key] = node
        self._over.pop(node.key, None)
        node.run.nodes[node.key] = node
        self.touch(node.run)
        return node

    def touch(self, run: OpenRun) -> None:
        """Something happened in it: of all runs it is the last to be given up."""
        run.touched = time.monotonic()
        self._runs.move_to_end(run.id)

    def finish(self, node: Node) -> None:
        """The node is over; late children still find it for a while."""
        forgotten = node.run.finish(node)
        if forgotten is not None:
            self.nodes.pop(forgotten, None)

    def drop(self, node: Node) -> None:
        """The node never began."""
        del self.nodes[node.key], node.run.nodes[node.key]

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────

    def open(
        self,
        key: Hashable,
        name: str,
        facts: Mapping[str, Any],
        events: list[Event],
        *,
        implicit: bool = False,
    ) -> Node:
        """A new run, and the node that stands for it."""
        for idle in self._idle_ones():
            events += self._give_up(idle)
        seal, ambient = self._sealer, context.current_session()
        run_id = self.timeline.run_id()
        session, user = facts.get("session"), facts.get("user")
        if ambient is not None:
            session, user = session or ambient.id, user or ambient.user
        span = Run(
            id=run_id,
            run_id=run_id,
            session_id=seal.session(session) if session else run_id,
            user_id=None if user is None else seal.person(user),
            project=seal.name(self._written_on_all["project"]),
            framework=seal.name(facts.get("framework")),
            name=seal.name(name) or "run",
            task_type=seal.name(facts.get("task_type")),
            agent_version=seal.name(facts.get("agent_version")),
            environment=seal.name(facts.get("environment") or self._written_on_all["environment"]),
            tags=seal.names(facts.get("tags")),
            input=seal.seal(facts.get("input")),
            attributes=seal.facts(facts.get("attributes")),
            started_at=0,
        )
        run = OpenRun(span, self.account(), self._history(), self.timeline, implicit=implicit)
        run.resumable = session is not None and not implicit
        span.started_at = run.clock.now()
        metadata = ambient.metadata if ambient and seal.session(ambient.id) == span.session_id else {}
        self._announce_session(span, metadata, events)
        self._runs[run_id] = run
        events.append((signals.run_started, {"run": span}))
        return self.add(Node(key, run, None, span.name))

    def resume(self, key: Hashable, session: str, events: list[Event]) -> Run | None:
        """The session's run that stopped goes on under a new key; None if there is none."""
        session = self._sealer.session(session)
        run = self._resumable.pop(session, None) or self._recalled(session)
        if run is None:
            return None
        span = run.root
        span.waiting_ms += max(run.clock.now() - (span.ended_at or run.clock.now()), 0) // 1000
        span.error_type = span.error = None
        span.attributes.pop("waiting_for", None)
        span.status, span.ended_at, run.resumable = "running", None, True
        run.go_on()
        self._runs[span.id] = run
        self.add(Node(key, run, None, span.name))
        events.append((signals.run_started, {"run": span}))
        return span

    def _recalled(self, session: str) -> OpenRun | None:
        """A run that another process left waiting, taken up with what it had spent."""
        span = self.recall(session) if self.recall is not None else None
        if span is None:
            return None
        run = OpenRun(span, self.account(), self._history(), self.timeline)
        run.loop.steps = span.steps
        if run.account is not None:
            run.account.take_over(span.cost_nano_usd, span.input_tokens + span.output_tokens)
        return run

    def _announce_session(self, run: Run, metadata: Mapping[str, Any], events: list[Event]) -> None:
        if run.session_id in self._sessions:
            return
        self._sessions[run.session_id] = None
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        session = Session(
            id=run.session_id,
            user_id=run.user_id,
            project=run.project,
            started_at=run.started_at,
            metadata=self._sealer.facts(metadata),
        )
        events.append((signals.session_started, {"session": session}))

    # ── closing ──────────────────────────────────────────────────────────────────────────────────────

    def close(self, run: OpenRun, output: Any, error: BaseException | None) -> Event:
        """Write the run's end; what it had open is closed already."""
        span = run.root
        stopped = run.account.stopped if run.account else None
        # A run that a budget stopped has failed by that, whatever the framework made of the exception.
        failure = error if error is not None and status_of(error) != "failure" else stopped or error
        if failure is not None and status_of(failure) == "cancelled" and run.waiting and run.resumable:
            span.status = "waiting"  # put aside until the answer comes
        elif failure is not None:
            span.status = status_of(failure)
            if span.status != "cancelled":  # being called off is no error
                self._sealer.blame(span, failure)
        else:
            span.status = "waiting" if run.waiting else "success"
        span.output = self._sealer.seal(output, "output")
        if span.status == "waiting" and run.questions:
            asked = run.questions[0] if len(run.questions) == 1 else run.questions
            span.attributes |= self._sealer.facts({"waiting_for": asked})
        span.ended_at = run.clock.now()
        self.forget(run, error if isinstance(error, BudgetExceeded) else None)
        if run.resumable:
            self._keep_resumable(run)
        return (signals.run_waiting if span.status == "waiting" else signals.run_ended), {"run": span}

    def _keep_resumable(self, run: OpenRun) -> None:
        """Keep what going on with it takes; its texts are in the file. One that waits is not displaced."""
        session, held = run.root.session_id, self._resumable.get(run.root.session_id)
        if held and held.root.status == "waiting" and run.root.status != "waiting":
            return
        run.root = msgspec.structs.replace(
            run.root, input=None, output=None, error=None, attributes=dict(run.root.attributes)
        )
        self._resumable[session] = run
        if len(self._resumable) > _RESUMABLE:
            self._resumable.popitem(last=False)

    def stopped(self, parent: Hashable | None) -> BudgetExceeded | None:
        """The refusal that stopped the run this code was part of, if that run is over and nothing else is open."""
        keys = (parent, *(frame.key for frame in context.frames_of(self._owner)))
        refusals = (refusal for key in keys if (refusal := self._over.get(key)) is not None)
        refusal = next(refusals, None)
        return None if refusal is None or self.place(parent) is not None else refusal

    def is_over(self, key: Hashable) -> bool:
        """Whether this was part of a run that has ended not long ago."""
        return key in self._over

    def forget(self, run: OpenRun, ended_by: BudgetExceeded | None = None) -> None:
        """Free what a run under way holds. `ended_by`: the refusal that ended it, even if a later call would have fitted."""
        stopped = run.account.stopped if run.account else None
        for key in run.nodes:
            self.nodes.pop(key, None)
            self._over[key] = stopped or ended_by
        while len(self._over) > _OVER:
            self._over.popitem(last=False)
        run.forget_parts()
        run.history = self._history()
        run.loop.sent = run.loop.step = None
        self._runs.pop(run.id, None)

    def open_ones(self) -> list[OpenRun]:
        return list(self._runs.values())

    def leave_to_parent(self) -> None:
        """What a fork inherited is the parent's to record and to end: two writers of one run would contradict."""
        for held in (self.nodes, self._runs, self._resumable, self._over):
            held.clear()

    def _idle_ones(self) -> list[OpenRun]:
        """Runs silent for so long, or so many, that they must be given up before one more is opened."""
        horizon = time.monotonic() - self._idle_s
        by_silence = iter(self._runs.values())
        surplus = list(islice(by_silence, max(len(self._runs) - self._open_runs + 1, 0)))
        return [*surplus, *takewhile(lambda run: run.touched < horizon, by_silence)]

    def account(self) -> Account | None:
        """A new account under the budget, if there is one."""
        return None if self._budget is None else Account(self._budget, self._prices, self.ledger)

    def nobodys(self, user: str | None) -> Run:
        """A run that is none, for what a user spends outside of any."""
        return Run(
            id="",
            run_id="",
            session_id="",
            name="",
            started_at=0,
            user_id=None if user is None else self._sealer.person(user),
            project=self._sealer.name(self._written_on_all["project"]),
        )

    def _history(self) -> PromptHistory:
        return PromptHistory(self._sealer.message)
