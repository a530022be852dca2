"""The recorder: a dozen verbs, and the only state that changes while agents run.

Handlers say what their framework reports (`open_llm`, `close_tool`, `fail` …) under the framework's own ids.
The recorder places every call in session → run → step, once for all frameworks:

- parents are found by id; a part whose parent is unknown belongs to the run this code is in, if any;
- a call outside any run gets a run of its own, so nothing is dropped;
- an end that overtakes its start is kept until the start arrives;
- the same id reported twice (two handlers attached) is recorded once;
- a run inside a run is a nested agent of it;
- a run's end closes what it left open, and frees its state.

Before a model call the budget is asked; only there `BudgetExceeded` is raised, before anything is opened.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from blinker import NamedSignal

from tokentrace_core import context, signals
from tokentrace_core.accounting import charge, estimated_usage, price_of, write_usage
from tokentrace_core.budget import Account, Budget, Request
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.ids import new_run_id, new_span_id
from tokentrace_core.open_spans import Loop, Node, OpenRun, OpenStep
from tokentrace_core.payload import Payload, snapshot
from tokentrace_core.pricing import PriceBook, to_nano
from tokentrace_core.prompts import Message, PromptHistory, Sent, ToMessage
from tokentrace_core.redact import Redactor
from tokentrace_core.shield import describe_error, log_once
from tokentrace_core.spans import LLMCall, Run, Score, Session, Span, Status, Step, ToolCall, status_of
from tokentrace_core.usage import Usage

Event = tuple[NamedSignal, dict[str, object]]
Locator = Callable[[], Hashable | None]
Recall = Callable[[str], Run | None]

_REMEMBERED = 1_000


def _as_is(message: Any) -> Message:
    return message if isinstance(message, Mapping) else {"role": "user", "content": message}


class Recorder:
    """Turns what frameworks report into spans, and announces them on `signals`.

    `result_chars`: tool results are kept up to this many characters (the full size is always kept).
    `idle_s`, `open_runs`: a run that has been silent this long, or is the oldest of too many, is given up
    as `interrupted`, so that runs that never end cannot fill the memory.
    """

    def __init__(
        self,
        *,
        redactor: Redactor | None = None,
        prices: PriceBook | None = None,
        budget: Budget | None = None,
        project: str | None = None,
        environment: str | None = None,
        result_chars: int = 2_000,
        idle_s: float = 6 * 3600,
        open_runs: int = 10_000,
    ) -> None:
        self.redactor = redactor or Redactor()
        self.prices = prices or PriceBook()
        self.recall: Recall | None = None
        """Finds a waiting run of a session that this process does not know."""
        self._budget = budget
        self._project = project
        self._environment = environment
        self._result_chars = result_chars
        self._idle_s = idle_s
        self._open_runs = open_runs
        self._lock = threading.RLock()
        self._nodes: dict[Hashable, Node] = {}
        self._runs: OrderedDict[str, OpenRun] = OrderedDict()
        self._early_ends: OrderedDict[Hashable, Callable[[], list[Event]]] = OrderedDict()
        self._resumable: OrderedDict[str, OpenRun] = OrderedDict()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._locators: list[Locator] = []

    # ── runs and their parts ─────────────────────────────────────────────────────────────────────────

    def open_run(
        self,
        key: Hashable,
        name: str,
        *,
        framework: str | None = None,
        session: str | None = None,
        user: str | None = None,
        input: Any = None,  # noqa: A002 - the column's name
        resume: bool = False,
        attributes: Mapping[str, Any] | None = None,
        **facts: Any,
    ) -> Run:
        """A request began. `facts`: task_type, agent_version, environment, tags.

        Inside another run it is a nested agent of that run, which is then returned. With `resume`, the run
        of this session that waits goes on.
        """
        with self._lock:
            run, events = self._open_run(
                key, name, framework, session, user, input, resume, dict(attributes or {}), facts
            )
        self._tell(events)
        return run

    def nest(
        self, key: Hashable, parent: Hashable, name: str | None = None, *, in_loop: bool = False
    ) -> bool:
        """A part that is not recorded itself: what happens inside finds its place through it.

        `in_loop`: the parent is an agent, and this is a part of its loop. False if the parent is unknown.
        """
        with self._lock:
            above = self._nodes.get(parent)
            if above is None:
                return False
            if key not in self._nodes:
                if in_loop:
                    above.own_loop()
                self._add(Node(key, above.run, above, name))
            return True

    def leave(self, key: Hashable) -> bool:
        """A part opened with `nest` is over. False if the key is a run's own, which has to be closed."""
        with self._lock:
            node = self._nodes.get(key)
            if node is None:
                return True
            if node.parent is None:
                return False
            if not node.closed:
                self._finish(node)
            return True

    def close_run(self, key: Hashable, output: Any = None) -> None:
        """The request was answered. A run that has begun to wait for a human is `waiting` from here."""
        self._end(key, lambda node: self._close_part(node, output, None))

    def wait(self, key: Hashable, question: Any = None) -> None:
        """This part stopped to ask a human; the run is `waiting` as soon as it returns."""
        self._end(key, lambda node: self._wait(node, question))

    def fail(
        self,
        key: Hashable,
        error: BaseException,
        *,
        usage: Usage | None = None,
        output: Any = None,
        to_message: ToMessage = _as_is,
        model: str | None = None,
    ) -> None:
        """It raised. For a model call, `usage` and `output` are what had arrived (and is billed)."""
        self._end(key, lambda node: self._fail(node, error, usage, output, to_message, model))

    def cancel(self, key: Hashable, *, output: Any = None) -> None:
        """It was abandoned by its caller."""
        self.fail(key, GeneratorExit(), output=output)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────

    def open_step(self, key: Hashable, name: str | None = None, *, parent: Hashable | None = None) -> Step:
        """The user's own code begins a step; calls inside it belong to it."""
        with self._lock:
            events: list[Event] = []
            node = self._node_below(key, parent, name or "step", events)
            step = self._new_step(node.run, node.loop, self._clean(name), events, explicit=True)
            node.span, node.step, node.fixed_step = step.span, step, step
        self._tell(events)
        return step.span

    def close_step(self, key: Hashable, reasoning: str | None = None) -> None:
        def close(node: Node) -> list[Event]:
            if reasoning is not None and node.step is not None:
                node.step.span.reasoning = self._seal(reasoning)
            return self._close_explicit_step(node, "success")

        self._end(key, close)

    # ── model calls ──────────────────────────────────────────────────────────────────────────────────

    def open_llm(
        self,
        key: Hashable,
        *,
        parent: Hashable | None = None,
        model: str | None = None,
        provider: str | None = None,
        messages: Sequence[Any] = (),
        to_message: ToMessage = _as_is,
        params: Mapping[str, Any] | None = None,
        tools: Any = None,
        kind: str = "chat",
        step_name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> LLMCall | None:
        """About to call a model. Raises `BudgetExceeded` if the call must not be made.

        `messages` are the framework's own objects, `to_message` brings one to the common form; it is called
        once per message, not once per call. None if this key is already known.
        """
        with self._lock:
            if key in self._nodes:
                return None
            events: list[Event] = []
            call = LLMCall(
                id=new_span_id(),
                run_id="",
                started_at=0,
                kind=kind,  # type: ignore[arg-type]
                provider=provider,
                model=self._clean(model),
                params=self._facts(params),
                tools=None if not tools else self._seal(tools),
                attributes=self._facts(attributes),
            )
            refusal = self._open_llm(key, parent, call, messages, to_message, step_name, events)
            if refusal is None:
                events += self._early_end(key)
        self._tell(events)
        if refusal is not None:
            raise refusal
        return call

    def first_token(self, key: Hashable) -> None:
        """The first piece of the answer arrived; later ones change nothing."""
        node = self._nodes.get(key)
        if node is None or not isinstance(node.span, LLMCall) or node.span.first_token_ms is not None:
            return
        node.span.first_token_ms = round((time.perf_counter_ns() - node.opened) / 1e6, 3)

    def close_llm(
        self,
        key: Hashable,
        *,
        usage: Usage | None = None,
        output: Any = None,
        to_message: ToMessage = _as_is,
        model: str | None = None,
        provider: str | None = None,
        stop_reason: str | None = None,
        response_id: str | None = None,
        cached: bool = False,
    ) -> None:
        """Answered. `output` is the model's message; `cached`: by a local cache, nothing was sent."""

        def close(node: Node) -> list[Event]:
            call = node.span
            if not isinstance(call, LLMCall):
                return []
            call.provider = provider or call.provider
            call.model_answered = self._clean(model)
            call.stop_reason = self._clean(stop_reason)
            call.response_id = self._clean(response_id)
            message = self._take_output(node, call, output, to_message)
            return self._settle_llm(node, call, "success", usage, message, cached=cached)

        self._end(key, close)

    # ── tools ────────────────────────────────────────────────────────────────────────────────────────

    def open_tool(
        self,
        key: Hashable,
        name: str,
        *,
        parent: Hashable | None = None,
        arguments: Any = None,
        tool_call_id: str | None = None,
        kind: str = "tool",
    ) -> ToolCall | None:
        """A tool or retrieval began: in the step whose model asked for `tool_call_id`, else the current one."""
        with self._lock:
            if key in self._nodes:
                return None
            events: list[Event] = []
            node = self._node_below(key, parent, name, events)
            step = self._step_of_tool(node, tool_call_id, events)
            call = ToolCall(
                id=new_span_id(),
                run_id=node.run.root.id,
                step_id=step.span.id,
                kind=kind,  # type: ignore[arg-type]
                name=self._clean(name) or "tool",
                tool_call_id=tool_call_id,
                arguments=None if arguments is None else self._seal(arguments),
                started_at=node.run.clock.now(),
            )
            node.span, node.step, node.tool_id = call, step, call.id
            step.calls += 1
            node.run.root.tool_calls += 1
            events.append((signals.tool_call_started, {"call": call}))
            events += self._early_end(key)
        self._tell(events)
        return call

    def close_tool(
        self,
        key: Hashable,
        result: Any = None,
        *,
        error: str | None = None,
        http_status: int | None = None,
        cost_usd: Any = None,
    ) -> None:
        """It returned. `error`: it reported a failure as its result. `cost_usd`: what a service charged."""

        def close(node: Node) -> list[Event]:
            call = node.span
            if not isinstance(call, ToolCall):
                return []
            call.http_status = http_status
            if cost_usd is not None:
                call.cost_nano_usd = to_nano(cost_usd)
                charge(node, call.cost_nano_usd)
            if result is not None:
                call.result = self._seal(result, max_text=self._result_chars)
            if error is not None:
                call.error_type, call.error = "ToolError", self._seal(error, max_text=self._result_chars)
            return self._end_call(node, call, "success" if error is None else "failure")

        self._end(key, close)

    # ── facts about what is open ─────────────────────────────────────────────────────────────────────

    def note(self, key: Hashable, attributes: Mapping[str, Any]) -> None:
        """Add attributes to an open span (a run, a step or a call)."""
        with self._lock:
            node = self._nodes.get(key)
            if node is not None:
                (node.span or node.run.root).attributes.update(self._facts(attributes))

    def describe_run(self, key: Hashable, *, user: str | None = None, tags: Sequence[str] = ()) -> None:
        """Say whose run this is, or tag it, once that is known."""
        with self._lock:
            node = self._nodes.get(key)
            if node is None:
                return
            run = node.run.root
            run.user_id = user or run.user_id
            run.tags += [tag for tag in map(str, tags) if tag not in run.tags]

    def make_score(self, key: Hashable, name: str, value: float, comment: str | None) -> Score | None:
        """An evaluation of the open span behind a key; None if nothing is open there."""
        with self._lock:
            node = self._nodes.get(key)
            if node is None:
                return None
            span = node.span or node.run.root
            return Score(
                id=new_span_id(),
                run_id=node.run.root.id,
                span_id=span.id,
                name=self._clean(name) or "score",
                value=float(value),
                comment=self._clean(comment),
                created_at=node.run.clock.now(),
            )

    def loop_of(self, key: Hashable) -> Loop | None:
        """The agent loop of an open part: its steps and cost so far."""
        node = self._nodes.get(key)
        return node.own_loop() if node else None

    def add_locator(self, locator: Locator) -> None:
        """Teach the recorder to ask a framework which of its ids this code runs under."""
        if locator not in self._locators:
            self._locators.append(locator)

    @property
    def open_parts(self) -> int:
        """How many ids are held; 0 when nothing runs."""
        return len(self._nodes)

    def close_all(self) -> None:
        """Give up every open run as interrupted: the process is about to end."""
        with self._lock:
            events = [event for run in list(self._runs.values()) for event in self._abandon(run)]
        self._tell(events)

    # ── placement ────────────────────────────────────────────────────────────────────────────────────

    def _here(self) -> Node | None:
        """The innermost open part that this code runs in, by our own blocks and by the frameworks' notes."""
        keys = [next((key for key in context.keys_of(self) if key in self._nodes), None)]
        for locator in self._locators:
            try:
                keys.append(locator())
            except Exception as error:
                log_once("a locator failed", error)
        open_here = [node for key in keys if key is not None and (node := self._nodes.get(key))]
        return max((node for node in open_here if not node.closed), key=lambda node: node.depth, default=None)

    def _node_below(self, key: Hashable, parent: Hashable | None, name: str, events: list[Event]) -> Node:
        """A new node under its parent, else where this code is, else in a run of its own."""
        above = self._nodes.get(parent) if parent is not None else None
        above = above or self._here()
        if above is None:
            above = self._new_run(("run of", key), name, {}, events, implicit=True)
        node = Node(key, above.run, above, name)
        self._add(node)
        return node

    def _add(self, node: Node) -> None:
        self._nodes[node.key] = node
        node.run.nodes[node.key] = node
        node.run.touched = time.monotonic()

    def _finish(self, node: Node) -> None:
        forgotten = node.run.finish(node)
        if forgotten is not None:
            self._nodes.pop(forgotten, None)

    def _open_run(
        self,
        key: Hashable,
        name: str,
        framework: str | None,
        session: str | None,
        user: str | None,
        input: Any,  # noqa: A002
        resume: bool,
        attributes: dict[str, Any],
        facts: dict[str, Any],
    ) -> tuple[Run, list[Event]]:
        events: list[Event] = []
        known = self._nodes.get(key) or self._here()
        if known is not None:
            if key not in self._nodes:
                self._add(Node(key, known.run, known, name))
            return known.run.root, events
        events += self._give_up_idle_runs()
        ambient = context.current_session()
        session = session or (ambient.id if ambient else None)
        if resume and session and (waiting := self._take_resumable(session)):
            return self._resume(key, waiting, events), events
        node = self._new_run(
            key,
            name,
            {
                "framework": framework,
                "session": session,
                "user": user or (ambient.user if ambient else None),
                "metadata": ambient.metadata if ambient and ambient.id == session else {},
                "input": input,
                "attributes": attributes,
                **facts,
            },
            events,
        )
        events += self._early_end(key)
        return node.run.root, events

    def _new_run(
        self,
        key: Hashable,
        name: str,
        facts: dict[str, Any],
        events: list[Event],
        *,
        implicit: bool = False,
    ) -> Node:
        ambient = context.current_session()
        run_id = new_run_id()
        session_id = facts.get("session") or (ambient.id if ambient else run_id)
        user = facts.get("user") or (ambient.user if ambient else None)
        span = Run(
            id=run_id,
            run_id=run_id,
            session_id=str(session_id),
            user_id=None if user is None else str(user),
            project=self._project,
            framework=facts.get("framework"),
            name=self._clean(name) or "run",
            task_type=self._clean(facts.get("task_type")),
            agent_version=self._clean(facts.get("agent_version")),
            environment=self._clean(facts.get("environment")) or self._environment,
            tags=[self._clean(str(tag)) or "" for tag in facts.get("tags") or ()],
            input=None if facts.get("input") is None else self._seal(facts["input"]),
            attributes=self._facts(facts.get("attributes")),
            started_at=0,
        )
        account = None if self._budget is None else Account(self._budget, self.prices)
        run = OpenRun(span, account, PromptHistory(self._seal_message), implicit=implicit)
        run.resumable = session_id != run_id
        span.started_at = run.clock.now()
        self._announce_session(span, facts.get("metadata") or {}, events)
        node = Node(key, run, None, name)
        self._runs[run_id] = run
        self._add(node)
        events.append((signals.run_started, {"run": span}))
        return node

    def _announce_session(self, run: Run, metadata: dict[str, Any], events: list[Event]) -> None:
        if run.session_id in self._sessions:
            return
        session = Session(
            id=run.session_id,
            user_id=run.user_id,
            project=run.project,
            started_at=run.started_at,
            metadata=self._facts(metadata),
        )
        self._sessions[session.id] = session
        if len(self._sessions) > _REMEMBERED:
            self._sessions.popitem(last=False)
        events.append((signals.session_started, {"session": session}))

    # ── waiting and resuming ─────────────────────────────────────────────────────────────────────────

    def _wait(self, node: Node, question: Any) -> list[Event]:
        node.run.waiting_for = question if question is not None else True
        if isinstance(node.span, ToolCall):
            return self._end_call(node, node.span, "waiting")
        if node.parent is None:
            return self._close_part(node, None, None)
        self._finish(node)
        return []

    def _take_resumable(self, session: str) -> OpenRun | None:
        run = self._resumable.pop(session, None)
        if run is not None or self.recall is None:
            return run
        span = self.recall(session)
        if span is None:
            return None
        account = None if self._budget is None else Account(self._budget, self.prices)
        if account is not None:
            account.spend(span.cost_nano_usd)
        run = OpenRun(span, account, PromptHistory(self._seal_message))
        run.loop.steps = span.steps
        return run

    def _resume(self, key: Hashable, run: OpenRun, events: list[Event]) -> Run:
        span = run.root
        now = run.clock.now()
        span.waiting_ms += max(now - (span.ended_at or now), 0) // 1000
        span.status, span.ended_at, run.waiting_for = "running", None, None
        run.resumable = True
        self._runs[span.id] = run
        self._add(Node(key, run, None, span.name))
        events.append((signals.run_started, {"run": span}))
        return span

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────

    def _new_step(
        self, run: OpenRun, loop: Loop, name: str | None, events: list[Event], *, explicit: bool = False
    ) -> OpenStep:
        before = loop.step
        run.root.steps += 1
        loop.steps += 1
        span = Step(
            id=new_span_id(),
            run_id=run.root.id,
            number=run.root.steps,
            agent=self._clean(loop.agent),
            agent_step=loop.steps,
            parent_call_id=loop.parent_call_id,
            name=name,
            started_at=run.clock.now(),
        )
        loop.step = step = OpenStep(span, loop, explicit=explicit)
        run.steps[span.id] = step
        if before is not None:
            before.superseded = True
            self._end_step_if_done(run, before, events)
        events.append((signals.step_started, {"step": span}))
        return step

    def _step_of_tool(self, node: Node, tool_call_id: str | None, events: list[Event]) -> OpenStep:
        asked_by = node.run.asked.pop(tool_call_id, None) if tool_call_id else None
        if asked_by is not None:
            asked_by.asked.discard(tool_call_id or "")
            return asked_by
        step = node.fixed_step or node.loop.step or node.step
        return step or self._new_step(node.run, node.loop, None, events)

    def _end_step_if_done(self, run: OpenRun, step: OpenStep, events: list[Event]) -> None:
        if step.done:
            self._end_step(run, step, "success", events)

    def _end_step(self, run: OpenRun, step: OpenStep, status: Status, events: list[Event]) -> None:
        if step.ended:
            return
        step.ended = True
        run.steps.pop(step.span.id, None)
        span = step.span
        if span.status == "running":
            span.status = status
        if span.ended_at is None or step.explicit:
            span.ended_at = run.clock.now()
        events.append((signals.step_ended, {"step": span}))

    def _close_explicit_step(
        self, node: Node, status: Status, error: BaseException | None = None
    ) -> list[Event]:
        events: list[Event] = []
        if node.step is not None and not node.closed:
            if error is not None:
                self._blame(node.step.span, error)
            self._finish(node)
            node.step.span.status = status
            self._end_step(node.run, node.step, status, events)
            events += self._end_implicit_run(node)
        return events

    # ── model calls ──────────────────────────────────────────────────────────────────────────────────

    def _open_llm(
        self,
        key: Hashable,
        parent: Hashable | None,
        call: LLMCall,
        messages: Sequence[Any],
        to_message: ToMessage,
        step_name: str | None,
        events: list[Event],
    ) -> BudgetExceeded | None:
        node = self._node_below(key, parent, call.model or "llm", events)
        run, loop = node.run, node.loop
        call.run_id, call.started_at = run.root.id, run.clock.now()
        sent, sent_bytes = self._prompt(run, loop, messages, to_message)
        call.prompt = sent.leaf if sent else None
        outer = node.enclosing_llm()
        if run.account is not None and outer is None:
            request = self._request(call, sent, sent_bytes, node)
            try:
                node.reservation = run.account.reserve(request)
            except BudgetExceeded as refusal:
                self._refuse(node, call, refusal, events)
                return refusal
            self._warn(run, events)
        if outer is not None:
            outer.wraps = call.id
        node.sent = loop.sent = sent
        step = node.fixed_step or (outer.step if outer else None)
        step = step or self._new_step(run, loop, self._clean(step_name), events)
        node.span, node.step = call, step
        call.step_id = step.span.id
        step.calls += 1
        run.root.llm_calls += 1
        events.append((signals.llm_call_started, {"call": call}))
        return None

    def _prompt(
        self, run: OpenRun, loop: Loop, messages: Sequence[Any], to_message: ToMessage
    ) -> tuple[Sent | None, int]:
        """The prompt's path. A message that cannot be read costs the prompt, not the call."""
        try:
            return run.history.prompt(messages, to_message, loop.sent)
        except Exception as error:
            log_once("a prompt could not be read", error)
            return None, 0

    def _request(self, call: LLMCall, sent: Sent | None, sent_bytes: int, node: Node) -> Request:
        tools = call.tools.size if call.tools else 0
        max_tokens = call.params.get("max_tokens")
        return Request(
            model=call.model,
            provider=call.provider,
            prompt_bytes=(sent.leaf.size if sent else 0) + tools,
            sent_bytes=sent_bytes + (tools if sent_bytes else 0),
            max_tokens=max_tokens if isinstance(max_tokens, int) and max_tokens > 0 else None,
            steps=node.run.root.steps + (node.fixed_step is None),
        )

    def _refuse(self, node: Node, call: LLMCall, refusal: BudgetExceeded, events: list[Event]) -> None:
        """Keep the refused call in the record: once, however often it is retried."""
        run, loop = node.run, node.loop
        repeated = loop.refused
        if repeated is not None:
            repeated.attributes["attempts"] = repeated.attributes.get("attempts", 1) + 1
            call = repeated
        else:
            loop.refused = call
            run.root.refused_calls += 1
            step = node.fixed_step or loop.step or node.step
            call.step_id = step.span.id if step else None
            call.status, call.ended_at = "refused", run.clock.now()
            call.cost_nano_usd, call.cost_status = 0, "free"
            call.attributes |= {"budget_stop": True, "budget_scope": refusal.scope}
            self._blame(call, refusal)
        self._finish(node)
        events.append((signals.llm_call_refused, {"call": call}))
        events.append((signals.budget_exceeded, {"run": run.root, "error": refusal}))
        events += self._end_implicit_run(node)

    def _warn(self, run: OpenRun, events: list[Event]) -> None:
        if run.account is not None:
            for scope, share in run.account.new_warnings(run.root.steps):
                facts: dict[str, object] = {"run": run.root, "scope": scope, "share": share}
                events.append((signals.budget_warning, facts))

    def _take_output(self, node: Node, call: LLMCall, output: Any, to_message: ToMessage) -> Message | None:
        """Keep the model's message, and remember which tool calls it asks for."""
        if output is None:
            return None
        try:
            message = to_message(output)
            call.output = node.run.history.payload(output, lambda _: message)
        except Exception as error:
            log_once("a reply could not be read", error)
            return None
        for asked in message.get("tool_calls") or ():
            if (tool_call_id := asked.get("id")) and node.step is not None:
                node.run.asked[tool_call_id] = node.step
                node.step.asked.add(tool_call_id)
        return message

    def _settle_llm(
        self,
        node: Node,
        call: LLMCall,
        status: Status,
        usage: Usage | None,
        message: Message | None,
        *,
        cached: bool = False,
        billed: bool = True,
    ) -> list[Event]:
        """Usage, price, budget and totals of a call that is over."""
        if usage is None and billed and not cached and node.wraps is None:
            usage = estimated_usage(node, call, message)
        price = price_of(self.prices, call, usage, cached=cached, billed=billed, wraps=node.wraps)
        if node.wraps is not None:
            call.attributes["wraps"] = node.wraps
            usage = None
        write_usage(call, usage, price, cached=cached)
        account = node.run.account
        if account is not None and node.reservation is not None:
            account.settle(node.reservation, None if cached else usage, price.nano_usd)
        if node.wraps is None:
            charge(node, price.nano_usd or 0, call=call, in_account=False)
        self._notice_latency(node, call)
        events = self._end_call(node, call, status)
        self._warn(node.run, events)
        return events

    def _notice_latency(self, node: Node, call: LLMCall) -> None:
        """The context-rot heuristic of requirement S10: twice as slow as the step before."""
        latency = node.run.clock.now() - call.started_at
        before, node.loop.last_latency_us = node.loop.last_latency_us, latency
        if before and latency > 2 * before:
            call.attributes |= {"warning": "latency_doubled", "prev_latency_ms": before / 1000}

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, key: Hashable, close: Callable[[Node], list[Event]]) -> None:
        """Apply an end to an open part; keep it if the part has not begun yet."""
        with self._lock:
            node = self._nodes.get(key)
            if node is None:
                self._early_ends[key] = lambda: self._apply(key, close)
                if len(self._early_ends) > _REMEMBERED:
                    self._early_ends.popitem(last=False)
                return
            events = self._apply(key, close)
        self._tell(events)

    def _apply(self, key: Hashable, close: Callable[[Node], list[Event]]) -> list[Event]:
        node = self._nodes.get(key)
        if node is None or node.closed:
            return []
        node.run.touched = time.monotonic()
        return close(node)

    def _early_end(self, key: Hashable) -> list[Event]:
        end = self._early_ends.pop(key, None)
        return end() if end else []

    def _end_call(self, node: Node, call: LLMCall | ToolCall, status: Status) -> list[Event]:
        run, step = node.run, node.step
        call.status, call.ended_at = status, run.clock.now()
        self._finish(node)
        ended = signals.llm_call_ended if isinstance(call, LLMCall) else signals.tool_call_ended
        events: list[Event] = [(ended, {"call": call}), (signals.run_updated, {"run": run.root})]
        if step is not None:
            step.calls -= 1
            if not step.explicit:
                step.span.ended_at = call.ended_at
                if isinstance(call, LLMCall) and status not in ("success", "waiting"):
                    step.span.status = status
            self._end_step_if_done(run, step, events)
        return events + self._end_implicit_run(node)

    def _fail(
        self,
        node: Node,
        error: BaseException,
        usage: Usage | None,
        output: Any,
        to_message: ToMessage,
        model: str | None,
    ) -> list[Event]:
        span, status = node.span, status_of(error)
        if isinstance(span, LLMCall):
            self._blame(span, error, status)
            span.model_answered = self._clean(model)
            message = self._take_output(node, span, output, to_message)
            # A provider that answers with an error bills nothing; a reply broken off is billed.
            billed = usage is not None or message is not None or status in ("cancelled", "timeout")
            return self._settle_llm(node, span, status, usage, message, billed=billed)
        if isinstance(span, ToolCall):
            self._blame(span, error, status)
            return self._end_call(node, span, status)
        if isinstance(span, Step):
            return self._close_explicit_step(node, status, error)
        return self._close_part(node, None, error)

    def _close_part(self, node: Node, output: Any, error: BaseException | None) -> list[Event]:
        if node.parent is not None:
            self._finish(node)
            return []
        return self._close_run(node.run, output, error)

    def _close_run(self, run: OpenRun, output: Any, error: BaseException | None) -> list[Event]:
        span = run.root
        events = self._close_what_is_open(run, "cancelled")
        stopped = run.account.stopped if run.account else None
        failure = error if error is not None and status_of(error) != "failure" else stopped or error
        if failure is not None:
            span.status = status_of(failure)
            self._blame(span, failure)
        else:
            span.status = "waiting" if run.waiting_for is not None else "success"
        if output is not None:
            span.output = self._seal(output)
        if span.status == "waiting" and run.waiting_for is not True:
            span.attributes |= self._facts({"waiting_for": run.waiting_for})
        span.ended_at = run.clock.now()
        self._forget(run)
        if run.resumable:
            self._resumable[span.session_id] = run
            if len(self._resumable) > _REMEMBERED:
                self._resumable.popitem(last=False)
        ended = signals.run_waiting if span.status == "waiting" else signals.run_ended
        return [*events, (ended, {"run": span})]

    def _close_what_is_open(self, run: OpenRun, status: Status) -> list[Event]:
        """A run's end closes what it left open, innermost first."""
        events: list[Event] = []
        for node in sorted(run.nodes.values(), key=lambda node: -node.depth):
            if node.closed:
                continue
            if isinstance(node.span, LLMCall):
                events += self._settle_llm(node, node.span, status, None, None)
            elif isinstance(node.span, ToolCall):
                events += self._end_call(node, node.span, status)
        for step in list(run.steps.values()):
            self._end_step(run, step, "success", events)
        return events

    def _end_implicit_run(self, node: Node) -> list[Event]:
        run = node.run
        if not run.implicit or any(not other.closed and other.parent for other in run.nodes.values()):
            return []
        call = node.span
        events = self._close_run(run, None, None)
        if isinstance(call, Span) and call.status not in ("success", "running"):
            run.root.status, run.root.error_type, run.root.error = call.status, call.error_type, call.error
        return events

    def _abandon(self, run: OpenRun) -> list[Event]:
        events = self._close_what_is_open(run, "interrupted")
        run.root.status, run.root.ended_at = "interrupted", run.clock.now()
        self._forget(run)
        return [*events, (signals.run_ended, {"run": run.root})]

    def _give_up_idle_runs(self) -> list[Event]:
        events: list[Event] = []
        horizon = time.monotonic() - self._idle_s
        while self._runs:
            oldest = next(iter(self._runs.values()))
            if oldest.touched >= horizon and len(self._runs) < self._open_runs:
                break
            if oldest.touched >= horizon:
                oldest = min(self._runs.values(), key=lambda run: run.touched)
            events += self._abandon(oldest)
        return events

    def _forget(self, run: OpenRun) -> None:
        for key in run.nodes:
            self._nodes.pop(key, None)
        run.nodes.clear()
        run.asked.clear()
        run.history = PromptHistory(self._seal_message)
        run.loop.sent = None
        self._runs.pop(run.root.id, None)

    # ── texts ────────────────────────────────────────────────────────────────────────────────────────

    def _seal(self, value: Any, max_text: int | None = None) -> Payload:
        return Payload(value, self.redactor, max_text=max_text)

    def _seal_message(self, message: Message) -> Payload:
        return self._seal(message)

    def _clean(self, name: str | None) -> str | None:
        return None if name is None else self.redactor.redact(str(name))

    def _facts(self, facts: Mapping[str, Any] | None) -> dict[str, Any]:
        """Small facts, redacted at once: they are kept as plain values."""
        if not facts:
            return {}
        plain = snapshot({name: fact for name, fact in facts.items() if fact is not None})
        redacted = self.redactor.redact_value(plain)
        return redacted if isinstance(redacted, dict) else {}

    def _blame(self, span: Span, error: BaseException, status: Status = "failure") -> None:
        if isinstance(error, BudgetExceeded):
            span.error_type = "budget_exceeded"
        else:
            span.error_type = self._clean(type(error).__name__)
        if status != "cancelled":
            span.error = self._seal(describe_error(error), max_text=self._result_chars)

    # ── announcements ────────────────────────────────────────────────────────────────────────────────

    def _tell(self, events: list[Event]) -> None:
        """Announce outside the lock: a slow receiver must not hold up other threads."""
        for signal, fact in events:
            signals.emit(signal, self, **fact)
