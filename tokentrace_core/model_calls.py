"""A model call from its request to its figures: the prompt, the budget's word, usage, price, totals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokentrace_core import signals, steps
from tokentrace_core.account import Account
from tokentrace_core.accounting import (
    believed,
    charge,
    estimated_usage,
    price_of,
    with_lifetime,
    write_usage,
)
from tokentrace_core.errors import BudgetExceeded
from tokentrace_core.forecast import Request
from tokentrace_core.open_spans import Node, OpenRun, OpenStep
from tokentrace_core.pricing import PriceBook, estimate_tokens
from tokentrace_core.prompts import Message, Sent, ToMessage
from tokentrace_core.replies import Reply
from tokentrace_core.sealing import Sealer
from tokentrace_core.shield import log_once
from tokentrace_core.signals import Event
from tokentrace_core.spans import LLMCall
from tokentrace_core.usage import Usage

#: With a handler that does nothing, so that an agent without logging prints nothing it did not print before.
log = logging.getLogger("tokentrace.budget")
log.addHandler(logging.NullHandler())


class Asked(NamedTuple):
    """A call that may be made as far as its run is concerned."""

    sent: Sent | None
    step: OpenStep | None
    """The step it belongs to; None: one of its own."""
    claim: Account | None
    """Where it has to be claimed from limits that the run shares with others."""


def ask(
    node: Node, call: LLMCall, messages: Sequence[Any], to_message: ToMessage, events: list[Event]
) -> Asked | BudgetExceeded:
    """Ask the run's own limits, and set aside what the call will use. The refusal, if there is one."""
    run = node.run
    call.run_id, call.started_at = run.root.id, run.clock.now()
    sent, shared = _prompt(node, messages, to_message)
    call.prompt = sent.leaf if sent else None
    outer = node.enclosing_llm()
    step = node.fixed_step or (outer.step if outer else None)
    if step is None and call.kind == "embedding":
        step = steps.under_way(node)  # it prepares a thought, and is none itself
    account = run.account
    if outer is not None and outer.reservation is not None:
        node.reservation, outer.reservation = outer.reservation, None
    elif account is not None:
        try:
            node.reservation = account.reserve(_request(node, call, sent, shared, step is None))
        except BudgetExceeded as refusal:
            return refusal
        warn(run, events)
        if account.is_shared:
            account.steps_ahead += step is None
            return Asked(sent, step, account)
    return Asked(sent, step, None)


def begin(node: Node, call: LLMCall, asked: Asked, step_name: str | None, events: list[Event]) -> None:
    """Open the call in its step."""
    run, loop = node.run, node.loop
    if asked.claim is not None:
        asked.claim.steps_ahead -= asked.step is None
        warn(run, events)
    outer = node.enclosing_llm()
    if outer is not None:
        outer.wraps = call.id  # the inner call is the one that is charged
    node.sent = loop.sent = asked.sent
    loop.last_input_tokens = None
    step = asked.step or steps.new_step(run, loop, step_name or node.step_name, events)
    node.span, node.step, call.step_id = call, step, step.span.id
    step.calls += 1
    run.root.llm_calls += 1
    events.append((signals.llm_call_started, {"call": call}))


def refuse(
    node: Node,
    call: LLMCall,
    asked: Asked | None,
    refusal: BudgetExceeded,
    sealer: Sealer,
    events: list[Event],
) -> None:
    """Give back what was set aside, stop the run, and keep the refused call in the record.

    Once, however often it is retried.
    """
    run, loop = node.run, node.loop
    if asked is not None and asked.claim is not None:
        asked.claim.steps_ahead -= asked.step is None
        if node.reservation is not None:
            asked.claim.release(node.reservation)
        asked.claim.stop(refusal)
    if run.refused is not None:
        call = run.refused
        call.attributes["attempts"] = call.attributes.get("attempts", 1) + 1
    else:
        run.refused = call
        run.root.refused_calls += 1
        step = node.fixed_step or loop.step or node.step
        call.step_id = step.span.id if step else None
        call.status, call.ended_at = "refused", run.clock.now()
        call.cost_nano_usd, call.cost_status = 0, "free"
        call.attributes |= {"budget_stop": True, "budget_scope": refusal.scope}
        sealer.blame(call, refusal)
    events.append((signals.llm_call_refused, {"call": call}))
    events.append((signals.budget_exceeded, {"run": run.root, "error": refusal}))


def take_output(node: Node, call: LLMCall, output: Any, to_message: ToMessage) -> Message | None:
    """Keep the model's message, and expect the tool calls that it asks for."""
    if output is None:
        return None
    try:
        message = to_message(output)
        call.output = node.run.history.payload(output, lambda _: message)
        for asked in message.get("tool_calls") or ():
            if asked.get("id"):
                steps.expect_tool(node, asked)
    except Exception as error:
        log_once("a reply could not be read", error)
        return None
    return message


def what_came(node: Node, told: Reply) -> Reply:
    """What there was of an answer when it broke off: what is told now, else what its pieces were."""
    if told.output is not None or told.usage is not None:
        return told.with_facts_of(node.arrived)
    come = node.arrived.with_facts_of(told)
    if come.output is not None or not node.said:
        return come
    return come._replace(output={"role": "assistant", "content": "".join(node.said)})


def note_report(node: Node, usage: Usage) -> None:
    """A piece of a stream reports usage. Most do so once; who counts the prompt again tells the sum so far."""
    if usage.input_tokens:
        node.reported_again = node.reported is not None
        node.reported = usage


def settle(
    node: Node,
    call: LLMCall,
    usage: Usage | None,
    message: Message | None,
    prices: PriceBook,
    events: list[Event],
    *,
    cached: bool = False,
    billed: bool = True,
) -> None:
    """Usage, price, budget and totals of a call that is over. Not `billed`: the provider refused it."""
    if node.reported_again:
        usage = node.reported
    usage = believed(call, usage)
    if node.wraps is not None:
        call.attributes["wraps"] = node.wraps
        usage, billed = None, False
    elif usage is None and billed and not cached:
        usage = estimated_usage(node, call, message)
    if usage is not None:
        usage = with_lifetime(call, usage)
    price = price_of(prices, call, usage, cached=cached, billed=billed)
    write_usage(call, usage, price, cached=cached)
    account = node.run.account
    if account is not None and node.reservation is not None:
        account.settle(node.reservation, None if cached else usage, price.nano_usd)
    charge(node, price.nano_usd or 0)
    if node.wraps is None:
        node.run.add_totals(call)
    if usage is not None and not cached and node.sent is node.loop.sent:
        node.loop.last_input_tokens = usage.input_tokens
    _notice_latency(node, call)
    warn(node.run, events)


def warn(run: OpenRun, events: list[Event]) -> None:
    """Announce limits that have come near."""
    if run.account is not None:
        for scope, share in run.account.new_warnings(run.root.steps):
            log.warning("run %s has used %d %% of %s", run.root.id, share * 100, scope)
            facts: dict[str, object] = {"run": run.root, "scope": scope, "share": share}
            events.append((signals.budget_warning, facts))


def _prompt(node: Node, messages: Sequence[Any], to_message: ToMessage) -> tuple[Sent | None, int]:
    """The prompt's path. A message that cannot be read costs the prompt, not the call."""
    try:
        return node.run.history.prompt(messages, to_message, node.loop.sent)
    except Exception as error:
        log_once("a prompt could not be read", error)
        return None, 0


def _request(node: Node, call: LLMCall, sent: Sent | None, shared: int, new_step: bool) -> Request:
    """What the budget is asked about: what this agent has sent before, and what is new in this prompt."""
    loop = node.loop
    tools = call.tools.size if call.tools else 0
    prompt_bytes = (sent.leaf.size if sent else 0) + tools
    sent_bytes = sent.nodes[shared - 1].size + tools if sent and shared else 0
    goes_on = loop.sent is not None and shared == len(loop.sent.nodes)
    counted = loop.last_input_tokens if goes_on else None
    max_tokens = call.params.get("max_tokens")
    ahead = node.run.account.steps_ahead if node.run.account else 0
    return Request(
        model=call.model,
        provider=call.provider,
        sent_tokens=estimate_tokens(sent_bytes) if counted is None else counted,
        new_bytes=prompt_bytes - sent_bytes,
        max_tokens=max_tokens if isinstance(max_tokens, int) and max_tokens > 0 else None,
        steps=node.run.root.steps + ahead + new_step,
    )


def _notice_latency(node: Node, call: LLMCall) -> None:
    """The context-rot heuristic of requirement S10: twice as slow as the call before it."""
    latency = node.run.clock.now() - call.started_at
    before, node.loop.last_latency_us = node.loop.last_latency_us, latency
    if before and latency > 2 * before:
        call.attributes |= {"warning": "latency_doubled", "prev_latency_ms": before / 1000}
