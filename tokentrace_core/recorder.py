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

import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

from tokentrace_core import context, model_calls, signals, steps
from tokentrace_core.account import Account
from tokentrace_core.accounting import charge
from tokentrace_core.budget import Budget
from tokentrace_core.endings import Endings
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.ids import new_span_id
from tokentrace_core.ledger import Ledger
from tokentrace_core.open_spans import Loop, Node
from tokentrace_core.pricing import PriceBook, to_nano
from tokentrace_core.prompts import Message, ToMessage
from tokentrace_core.redact import Redactor
from tokentrace_core.replies import Reply
from tokentrace_core.runs import Locator, OpenRuns, Recall
from tokentrace_core.sealing import Sealer
from tokentrace_core.shield import log_once
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall, Run, Score, Step, ToolCall, status_of
from tokentrace_core.usage import Usage

#: How many ends that came before their starts are kept, and for how many seconds.
_EARLY_ENDS = 1_000
_EARLY_S = 60.0
_NOTHING = Reply()
_MOST_NANO = 10**18


def _as_is(message: Any) -> Message:
    return message if isinstance(message, Mapping) else {"role": "user", "content": message}


def _amount(usd: Any) -> int | None:
    """Nano-dollars of an amount that a tool names; None, and a line in the log, if it is no amount."""
    try:
        amount = None if usd is None else to_nano(usd)
        if amount is None or 0 <= amount <= _MOST_NANO:
            return amount
        raise ValueError("an amount lies between 0 and a billion dollars")
    except (ArithmeticError, ValueError) as error:
        log_once("a tool's cost is no amount of dollars", error)
        return None


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
        self.prices = prices or PriceBook()
        self._sealer = Sealer(redactor or Redactor(), result_chars)
        self._runs = OpenRuns(
            self,
            self._sealer,
            self.prices,
            budget,
            {"project": project, "environment": environment},
            give_up=lambda run: self._ends.abandon(run),
            idle_s=idle_s,
            open_runs=open_runs,
        )
        self._ends = Endings(self._runs, self._sealer, self.prices)
        self._lock = threading.RLock()
        _recorders.add(self)
        self._early_ends: OrderedDict[Hashable, tuple[float, Callable[[Node], list[Event]]]] = OrderedDict()

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
                if node.span.tool_call_id:
                    # it is called again with the answer
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
        to_message: ToMessage = _as_is,
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
        kind: Literal["chat", "completion", "embedding"] = "chat",
        step_name: str | None = None,
        run: Callable[[], Mapping[str, Any]] | None = None,
        client: Hashable | None = None,
    ) -> LLMCall | None:
        """About to call a model. Raises `BudgetExceeded` if the call must not be made.

        `messages` are the framework's own objects, `to_message` brings one to the common form; it is called
        once per message, not once per call. `run`: name and facts of the run that it is, if it is in none.
        `client`: who sends it; what a client reports inside a call of its own is that same call.
        None if this key, or the call, is already known.
        """
        seal = self._sealer
        events: list[Event] = []
        with self._lock:
            if key in self._runs.nodes:
                return None
            if (stopped := self._runs.stopped(parent)) is not None:
                raise stopped.again()
            call = LLMCall(
                id=new_span_id(),
                run_id="",
                started_at=0,
                kind=kind,
                provider=seal.name(provider),
                model=seal.name(model),
                params=seal.facts(params),
                tools=seal.seal(tools or None, "tools"),
            )
            node = self._runs.below(key, parent, call.model or "llm", events, run)
            outer, node.client = node.enclosing_llm(), client
            if client is not None and outer is not None and outer.client == client:
                self._runs.finish(node)
                return None
            asked = model_calls.ask(node, call, messages, to_message, events)
            claim = None if isinstance(asked, BudgetExceeded) else asked.claim
            if claim is None:
                refusal = self._decide(node, call, asked, None, step_name, events)
        if claim is not None:
            refused = self._claim(claim, node)
            with self._lock:
                over = self._runs.nodes.get(key) is not node
                if over and node.reservation is not None:
                    claim.release(node.reservation)
                elif not over:
                    refusal = self._decide(node, call, asked, refused, step_name, events)
            if over:  # its run was ended meanwhile: it is one of its own
                return self.open_llm(
                    key,
                    model=model,
                    provider=provider,
                    messages=messages,
                    to_message=to_message,
                    params=params,
                    tools=tools,
                    kind=kind,
                    step_name=step_name,
                    run=run,
                    client=client,
                )
        self._tell(events)
        if refusal is not None:
            raise refusal
        return call

    @staticmethod
    def _claim(account: Account, node: Node) -> BudgetExceeded | None:
        """Ask the limits that others share: it may take a transaction, so no other run waits for it."""
        try:
            return account.claim(node.run.root, node.reservation) if node.reservation else None
        except Exception as error:
            log_once("a shared limit could not be asked", error)
            return None

    def _decide(
        self,
        node: Node,
        call: LLMCall,
        asked: model_calls.Asked | BudgetExceeded,
        refused: BudgetExceeded | None,
        step_name: str | None,
        events: list[Event],
    ) -> BudgetExceeded | None:
        """Open the call, or keep it as one that was refused. The refusal, if it was."""
        if isinstance(asked, BudgetExceeded):
            own, refused = None, asked
        else:
            own = asked
        if own is not None and refused is None:
            model_calls.begin(node, call, own, self._sealer.name(step_name), events)
            events += self._early_end(node.key)
            return None
        assert refused is not None
        model_calls.refuse(node, call, own, refused, self._sealer, events)
        if self._runs.nodes.get(node.key) is node:
            self._runs.drop(node)  # not known: asked again under this key, it is refused again
        events += self._ends.implicit_run(node, call)
        return refused

    def first_token(
        self,
        key: Hashable,
        *,
        usage: Usage | None = None,
        arrived: Reply | None = None,
        text: str | None = None,
    ) -> None:
        """A piece of the answer arrived; only the first one's time is kept.

        `usage`: what this piece reports. `text`: what it adds to the answer. `arrived`: the answer as far as it
        has come, where the client puts it together. Both are for answers that break off; `arrived` is for facts
        that the last piece no longer tells, too.
        """
        node = self._runs.nodes.get(key)
        if node is None or not isinstance(node.span, LLMCall):
            return
        if usage is not None:
            model_calls.note_report(node, usage)
        if arrived is not None:
            node.arrived = arrived.with_facts_of(node.arrived)
        if text:
            node.said.append(text)
        if node.span.first_token_ms is None:
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
            call, events = node.span, list[Event]()
            if not isinstance(call, LLMCall):
                return events
            earlier = node.arrived
            call.provider = self._sealer.name(provider) or call.provider
            call.model_answered = self._sealer.name(model or earlier.model)
            call.stop_reason = self._sealer.name(stop_reason or earlier.stop_reason)
            call.response_id = self._sealer.name(response_id or earlier.response_id)
            message = model_calls.take_output(node, call, output, to_message)
            model_calls.settle(node, call, usage, message, self.prices, events, cached=cached)
            return self._ends.call(node, call, "success", events, message and message.get("content"))

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
        kind: Literal["tool", "retrieval"] = "tool",
        run: Callable[[], Mapping[str, Any]] | None = None,
    ) -> ToolCall | None:
        """A tool or retrieval began: in the step whose model asked for `tool_call_id`, else the current one.

        `run`: name and facts of the run that it is, if it is in none. None if this key is already known.
        """
        with self._lock:
            if key in self._runs.nodes:
                return None
            events: list[Event] = []
            node = self._runs.below(key, parent, name, events, run)
            asked_as = tool_call_id if isinstance(tool_call_id, str) else None
            step, asked_as = steps.step_of_tool(node, name, arguments, asked_as, events)
            call = ToolCall(
                id=new_span_id(),
                run_id=node.run.root.id,
                step_id=step.span.id,
                kind=kind if kind in ("tool", "retrieval") else "tool",
                name=self._sealer.name(name) or "tool",
                tool_call_id=self._sealer.name(asked_as),
                arguments=self._sealer.seal(arguments, "arguments"),
                started_at=node.run.clock.now(),
            )
            node.span, node.step, node.tool_id = call, step, call.id
            step.calls += 1
            node.run.root.tool_calls += 1
            if node.run.account is not None:
                node.run.account.note_tool(call.name, arguments)
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
            call.http_status = http_status if isinstance(http_status, int) else None
            call.result = self._sealer.result(result)
            if (nano_usd := _amount(cost_usd)) is not None:
                call.cost_nano_usd = nano_usd
                charge(node, nano_usd)
                if node.run.account is not None:
                    node.run.account.spend(node.run.root, nano_usd)
            if error is not None:
                call.error_type, call.error = "ToolError", self._sealer.result(error, "error")
            return self._ends.call(node, call, "success" if error is None else "failure", [], result)

        self._end(key, close)

    # ── facts about what is open ─────────────────────────────────────────────────────────────────────

    def note(self, key: Hashable | None, attributes: Mapping[str, Any]) -> None:
        """Add attributes to an open span (a run, a step or a call); without a key, to the one the code runs in."""
        with self._lock:
            node = self._find(key)
            if node is not None:
                (node.span or node.run.root).attributes.update(self._sealer.facts(attributes))

    def describe_run(
        self, key: Hashable | None, *, user: str | None = None, tags: Sequence[str] = ()
    ) -> None:
        """Say whose run this is, or tag it, once that is known; without a key, the one the code runs in."""
        with self._lock:
            node = self._find(key)
            if node is not None:
                run = node.run.root
                run.user_id = self._sealer.person(user) if user else run.user_id
                run.tags += [tag for tag in self._sealer.names(tags) if tag not in run.tags]

    def make_score(self, key: Hashable, name: str, value: float, comment: str | None) -> Score | None:
        """An evaluation of the open span behind a key; None if nothing is open there."""
        with self._lock:
            node = self._runs.nodes.get(key)
            if node is None:
                return None
            return Score(
                id=new_span_id(),
                run_id=node.run.root.id,
                span_id=(node.span or node.run.root).id,
                name=self._sealer.name(name) or "score",
                value=float(value),
                comment=self._sealer.name(comment),
                created_at=node.run.clock.now(),
            )

    def loop_of(self, key: Hashable) -> Loop | None:
        """The agent loop of an open part: its steps and cost so far."""
        with self._lock:
            node = self._runs.nodes.get(key)
            return node.own_loop() if node else None

    def knows(self, key: Hashable) -> bool:
        """Whether anything was opened under this key that is still remembered."""
        return key in self._runs.nodes

    def add_locator(self, locator: Locator) -> None:
        """Teach the recorder to ask a framework which of its ids the calling code runs under."""
        with self._lock:
            if locator not in self._runs.locators:
                self._runs.locators.append(locator)

    def forget_locator(self, locator: Locator) -> None:
        """Ask it no more."""
        with self._lock:
            if locator in self._runs.locators:
                self._runs.locators.remove(locator)

    def use_ledger(self, ledger: Ledger) -> None:
        """Where limits are kept that outlive a run."""
        self._runs.ledger = ledger

    def budget_pressure(self, key: Hashable | None) -> float:
        """The part used of the nearest limit of a run; without a key, of the one the code runs in. 0 without limits."""
        with self._lock:
            node = self._find(key)
            if node is None or node.run.account is None:
                return 0.0
            return node.run.account.pressure(node.run.root.steps)

    def reserve(self, nano_usd: int, key: Hashable | None, user: str | None) -> Callable[[int], None]:
        """Set an amount aside; gives back what settles it. Raises `BudgetExceeded` if it does not fit.

        It counts for the run of this key, else for the one the code runs in, else for a user on its own.
        """
        with self._lock:
            node = self._find(key)
            run = node.run.root if node else self._runs.nobodys(user)
            account = node.run.account if node else self._runs.account()
            if account is None:
                return lambda _: None
            reservation = account.reserve_amount(nano_usd)
        refusal = account.claim(run, reservation) if account.is_shared else None
        if refusal is not None:
            with self._lock:
                account.release(reservation)
                raise account.stop(refusal)

        def settle(spent_nano: int) -> None:
            with self._lock:
                account.settle_amount(reservation, spent_nano)

        return settle

    def use_recall(self, recall: Recall) -> None:
        """Where to look for a waiting run of a session that this process does not know."""
        self._runs.recall = recall

    @property
    def open_parts(self) -> int:
        """How many ids are held; 0 when nothing runs."""
        return len(self._runs.nodes)

    def close_all(self) -> None:
        """Give up every open run as interrupted: the process is about to end."""
        with self._lock:
            events = [event for run in self._runs.open_ones() for event in self._ends.abandon(run)]
        self._tell(events)

    def _find(self, key: Hashable | None) -> Node | None:
        return self._runs.here() if key is None else self._runs.nodes.get(key)

    # ── beginnings ───────────────────────────────────────────────────────────────────────────────────

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

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, key: Hashable, close: Callable[[Node], list[Event]]) -> None:
        """Apply an end to an open part; keep it if the part has not begun yet."""
        with self._lock:
            if key in self._runs.nodes:
                events = self._apply(key, close)
            else:
                events = []
                if not self._runs.is_over(key):
                    self._keep_early_end(key, close)
        self._tell(events)

    def _keep_early_end(self, key: Hashable, close: Callable[[Node], list[Event]]) -> None:
        now = time.monotonic()
        self._early_ends[key] = (now, close)
        while (
            len(self._early_ends) > _EARLY_ENDS or next(iter(self._early_ends.values()))[0] < now - _EARLY_S
        ):
            self._early_ends.popitem(last=False)

    def _early_end(self, key: Hashable) -> list[Event]:
        """The end that had overtaken this start, if one had."""
        _, close = self._early_ends.pop(key, (0, None))
        return self._apply(key, close) if close else []

    def _apply(self, key: Hashable, close: Callable[[Node], list[Event]]) -> list[Event]:
        node = self._runs.nodes[key]
        if node.closed:
            return []
        self._runs.touch(node.run)
        return close(node)

    # ── announcements ────────────────────────────────────────────────────────────────────────────────

    def _tell(self, events: list[Event]) -> None:
        """Announce outside the lock: a slow receiver must not hold up other threads."""
        for signal, fact in events:
            signals.emit(signal, self, **fact)


_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def _begin_as_child() -> None:
    """Another thread of the parent may have held the lock, and nobody here would ever let go of it."""
    for recorder in list(_recorders):
        recorder._lock = threading.RLock()
        recorder._early_ends.clear()
        recorder._runs.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_as_child)
