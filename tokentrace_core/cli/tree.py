"""A run as a tree: rows in, nested dataclasses out; no text for people here.

run → steps → model calls and tool calls, and below a tool call the steps of the agents that it spawned
(`steps.parent_call_id`; below a step, what another process did for it), to any depth. A call without a step, and a step whose tool call is not in the file,
hang under the run: nothing is left out. Children stand in the order in which they began.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokentrace_core.cli.figures import exact_usd
from tokentrace_core.cli.nodes import LLMNode, Node, RunNode, Spent, StepNode, ToolNode, node
from tokentrace_core.cli.text import clean
from tokentrace_core.store.reader import Reader

__all__ = ["RunNode", "llm_calls", "plain_tree", "read_tree", "walk"]


def read_tree(reader: Reader, reference: str) -> RunNode:
    """The tree of a run, by its id, a part of it, or "last"."""
    row = reader.run(reference)
    run = node(RunNode, row)
    steps = [node(StepNode, row) for row in reader.steps(run.id)]
    llms = [node(LLMNode, row) for row in reader.llm_calls(run.id)]
    tools = [node(ToolNode, row) for row in reader.tool_calls(run.id)]
    step_by_id = {step.id: step for step in steps}
    tool_by_id = {tool.id: tool for tool in tools}
    asked_by: dict[str, Node] = {**step_by_id, **tool_by_id}
    for step in steps:
        asked_by.get(step.parent_call_id or "", run).children.append(step)
    calls: list[LLMNode | ToolNode] = [*llms, *tools]
    for call in calls:
        step_by_id.get(call.step_id or "", run).children.append(call)
    _sort_and_sum(run)
    if run.expired == "trace":  # nothing is left to be summed up, but the sums are kept
        run.spent.add(
            Spent(
                nano_usd=row["cost_nano_usd"],
                input_tokens=row["input_tokens"],
                cached_tokens=row["cached_tokens"],
                output_tokens=row["output_tokens"],
                llm_calls=row["llm_calls"],
                unpriced_calls=row["unpriced_calls"],
                estimated_calls=row["estimated_calls"],
            )
        )
    return run


def walk(root: Node) -> Iterator[tuple[Node, int]]:
    """Every node with its depth, parents first. Without recursion: agents may nest to any depth."""
    waiting: list[tuple[Node, int]] = [(root, 0)]
    while waiting:
        current, depth = waiting.pop()
        yield current, depth
        waiting += [(child, depth + 1) for child in reversed(current.children)]


def llm_calls(root: Node) -> list[LLMNode]:
    """All model calls, in the order in which they began."""
    calls = [current for current, _ in walk(root) if isinstance(current, LLMNode)]
    return sorted(calls, key=_began)


def plain_tree(reader: Reader, run_id: str) -> str:
    """The tree as text of what two recordings of the same work must share: no ids, no times, no durations."""
    lines = (f"{'  ' * depth}{_plain_line(current)}" for current, depth in walk(read_tree(reader, run_id)))
    return "\n".join(lines) + "\n"


_COUNTERS = {
    "input": "input_uncached_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}


def _plain_line(current: Node) -> str:
    words: list[object] = []
    match current:
        case RunNode():
            words = ["run", current.name, f"cost={exact_usd(current.spent.nano_usd)}"]
        case StepNode():
            words = ["step", current.name, f"agent={current.agent}" if current.agent else None]
        case LLMNode():
            words = [
                "llm" if current.kind == "chat" else current.kind,
                current.model_name,
                *_counted(current),
            ]
        case ToolNode():
            words = [current.kind, current.name]
            words += [f"cost={exact_usd(current.cost_nano_usd)}"] if current.cost_nano_usd is not None else []
    return " ".join(clean(word) for word in (*words, current.status, current.error_type) if word)


def _counted(call: LLMNode) -> list[str]:
    counts = [f"{name}={count}" for name, column in _COUNTERS.items() if (count := getattr(call, column))]
    if call.cost_status in ("priced", "override") and call.cost_nano_usd is not None:
        counts.append(f"cost={exact_usd(call.cost_nano_usd)}")
    elif call.cost_status:
        counts.append(f"cost={call.cost_status}")
    return counts if call.usage_source == "reported" else [*counts, f"usage={call.usage_source}"]


def _sort_and_sum(root: Node) -> None:
    for current, _ in walk(root):
        current.children.sort(key=_began)
    for current, _ in reversed(list(walk(root))):
        current.spent = current.own()
        for child in current.children:
            current.spent.add(child.spent)


def _began(span: Node) -> tuple[int, str]:
    return span.started_at, span.id
