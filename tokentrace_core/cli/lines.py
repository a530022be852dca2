"""One line for each kind of span, as pieces with a style: what `show` hangs in its tree and `tail` prints.

A status other than success comes first and in colour, with the first line of its error; figures that were
estimated carry `≈`, and a cost nobody knows says `unpriced`.
"""

from __future__ import annotations

from rich.text import Text

from tokentrace_core.cli import figures
from tokentrace_core.cli.nodes import LLMNode, Node, RunNode, Spent, StepNode, ToolNode
from tokentrace_core.cli.text import clean, first_line, shorten
from tokentrace_core.pricing import show_usd

STATUS_STYLES = {
    "success": ("✓", "green"),
    "failure": ("✗", "bold red"),
    "timeout": ("✗", "bold red"),
    "interrupted": ("✗", "bold red"),
    "refused": ("⛔", "bold red"),
    "cancelled": ("⊘", "yellow"),
    "waiting": ("◷", "yellow"),
    "running": ("▸", "cyan"),
}
_SEPARATOR = (" · ", "dim")
_ARGUMENTS = 60


def status(value: str) -> Text:
    symbol, style = STATUS_STYLES.get(value, ("?", "yellow"))
    return Text(f"{symbol} {clean(value)}", style=style)


def line(node: Node) -> Text:
    """A span on one line."""
    match node:
        case RunNode():
            return run_line(node)
        case StepNode():
            return step_line(node, None)
        case LLMNode():
            return llm_line(node)
        case ToolNode():
            return tool_line(node)
    raise TypeError(type(node).__name__)


def run_line(run: RunNode) -> Text:
    parts = [status(run.status), cost(run.spent), duration(run), Text(figures.count(run.steps, "step"))]
    return _joined(Text(clean(run.name), style="bold"), *parts)


def step_line(step: StepNode, agent_round_it: str | None) -> Text:
    """`agent_round_it`: whose step it would be if nothing were said."""
    title = Text(f"step {step.number}", style="bold")
    if step.agent and step.agent != agent_round_it:
        title = Text.assemble((clean(step.agent), "bold magenta"), " » ", title)
    if step.name:
        title.append(f" {clean(step.name)}")
    return _joined(title, _trouble(step), cost(step.spent), duration(step))


def llm_line(call: LLMNode) -> Text:
    kind = "llm" if call.kind == "chat" else clean(call.kind)
    title = Text.assemble((f"{kind} ", "dim"), (clean(call.model_name), "cyan"))
    if call.status == "refused":
        return _joined(title, _trouble(call))
    reason = Text(clean(call.stop_reason), style="dim") if call.stop_reason else None
    return _joined(title, _trouble(call), _usage(call), _call_cost(call), duration(call), reason)


def tool_line(call: ToolNode) -> Text:
    arguments = "" if call.arguments in (None, "null", "{}") else shorten(call.arguments, _ARGUMENTS)
    title = Text.assemble(
        (f"{clean(call.kind)} ", "dim"), (clean(call.name), "blue"), (f"({arguments})", "dim")
    )
    result = Text(f"→ {figures.size(call.result_bytes)}") if call.result_bytes is not None else None
    http = Text(f"HTTP {call.http_status}") if call.http_status is not None else None
    paid = Text(show_usd(call.cost_nano_usd)) if call.cost_nano_usd is not None else None
    inside = Text.assemble("agents inside ", cost(call.spent)) if call.children else None
    return _joined(title, _trouble(call), http, result, paid, inside, duration(call))


def error_line(node: Node) -> Text | None:
    """The first line of what went wrong, with its type if the text does not name it."""
    if not node.error and not node.error_type:
        return None
    said, kind = first_line(node.error), clean(node.error_type or "")
    text = said if not kind or said.startswith(kind) else f"{kind}: {said}" if said else kind
    return Text(text, style="red")


def cost(spent: Spent) -> Text:
    shown = figures.spent(spent.nano_usd, unpriced=spent.unpriced_calls, estimated=spent.estimated_calls)
    return Text(shown, style="yellow" if spent.unpriced_calls else "")


def duration(node: Node) -> Text | None:
    return None if node.duration_ms is None else Text(figures.duration(node.duration_ms))


def _trouble(node: Node) -> Text | None:
    return None if node.status == "success" else status(node.status)


def _usage(call: LLMNode) -> Text | None:
    if call.wraps:
        return Text("counted in the call inside it", style="dim")
    if call.input_tokens is None:
        return None
    about = "≈" if call.usage_source == "estimated" else ""
    parts = [
        f"{figures.tokens(count)} {what}"
        for count, what in ((call.cache_read_tokens, "cached"), (call.written_tokens, "written"))
        if count
    ]
    cached = f" ({', '.join(parts)})" if parts else ""
    thought = f" ({figures.tokens(call.reasoning_tokens)} reasoning)" if call.reasoning_tokens else ""
    sent, got = figures.tokens(call.input_tokens), figures.tokens(call.output_tokens)
    return Text(f"{about}{sent} in{cached} → {about}{got} out{thought}")


def _call_cost(call: LLMNode) -> Text | None:
    if call.wraps or call.cost_status is None:
        return None
    if call.cost_status == "cached":
        return Text("cached", style="green")
    return cost(call.own())


def _joined(*parts: Text | None) -> Text:
    joined = Text()
    for part in parts:
        if part is not None:
            joined.append(*_SEPARATOR if joined else ("",)).append_text(part)
    return joined
