"""The verbs for calls: a model is asked, streams and answers; a tool is called and returns."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal

from tokentrace_core import model_calls, signals, steps
from tokentrace_core.account import Account
from tokentrace_core.accounting import charge
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.open_spans import Node
from tokentrace_core.pricing import to_nano
from tokentrace_core.prompts import ToMessage
from tokentrace_core.recording import Recording, as_is
from tokentrace_core.replies import Reply
from tokentrace_core.shield import log_once
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall, ToolCall
from tokentrace_core.usage import Usage

_MOST_NANO = 10**18


class CallVerbs(Recording):
    """Only here is `BudgetExceeded` raised, before anything is opened."""

    # ── model calls ──────────────────────────────────────────────────────────────────────────────────

    def open_llm(
        self,
        key: Hashable,
        *,
        parent: Hashable | None = None,
        model: str | None = None,
        provider: str | None = None,
        messages: Sequence[Any] = (),
        to_message: ToMessage = as_is,
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
                id=self._runs.timeline.span_id(),
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
            if over:  # its run was ended meanwhile: it is one of its own, unless a budget ended it
                return self.open_llm(
                    key,
                    parent=parent,
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

    def _claim(self, account: Account, node: Node) -> BudgetExceeded | None:
        """Ask the limits that others share: it may take a transaction, so no other run waits for it."""
        try:
            so_far = self._runs.so_far(node.run)
            with self._lock:
                self._runs.take_over(node.run, so_far)
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
            node.span.first_token_ms = (node.run.clock.now() - node.opened) / 1000

    def close_llm(
        self,
        key: Hashable,
        *,
        usage: Usage | None = None,
        output: Any = None,
        to_message: ToMessage = as_is,
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
                id=self._runs.timeline.span_id(),
                run_id=node.run.root.id,
                step_id=step.span.id,
                kind=kind if kind in ("tool", "retrieval") else "tool",
                name=self._sealer.name(name) or "tool",
                tool_call_id=self._sealer.name(asked_as),
                arguments=self._sealer.seal(arguments, "arguments"),
                started_at=node.run.clock.now(),
            )
            node.run.hear(call.tool_call_id or call.name)
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
            nano_usd = _amount(cost_usd) if cost_usd is not None else self.prices.tool_nano(call.name)
            if nano_usd is not None:
                call.cost_nano_usd = nano_usd
                charge(node, nano_usd)
                if node.run.account is not None:
                    node.run.account.spend(node.run.root, nano_usd)
            if error is not None:
                call.error_type, call.error = "ToolError", self._sealer.result(error, "error")
            return self._ends.call(node, call, "success" if error is None else "failure", [], result)

        self._end(key, close)


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
