"""A stored run as the text that every framework must produce for the same work, character for character.

What is in it is what a user pays for or asks about: the run's end, its cost, whose it is and what it answered;
each agent's own steps, by the agent's name; of model calls provider, model, tokens per counter and cost; of tools
name, arguments and result; and what hangs below what.

What is left out, and why, stands in this list and nowhere else:

- ids, times, durations: different in every run;
- names of the run and of steps: a graph's nodes, a workflow's methods and a crew's tasks are the framework's own;
- a step's number in the run, and the order of calls made at once: agents and tools that run together begin in any
  order (each agent's own step numbers are compared, and parallel tools are sorted);
- stop reasons, request parameters and tool schemas: frameworks spell and fill them differently;
- the type and text of errors, which frameworks wrap (`budget_exceeded` is ours, and compared);
- the result of a tool that failed: what the framework tells the model about it is its own;
- the figures of an estimate, which rest on the framework's own prompts; that it is one, is compared.
"""

from __future__ import annotations

import json

from tokentrace_core.cli.figures import exact_usd
from tokentrace_core.cli.nodes import LLMNode, Node, RunNode, StepNode, ToolNode
from tokentrace_core.cli.tree import read_tree
from tokentrace_core.store.reader import Reader

COUNTERS = {
    "input": "input_uncached_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}


def rendered(reader: Reader, run_id: str) -> str:
    """The run's tree: two blanks per level."""
    return "\n".join(_lines(read_tree(reader, run_id), "")) + "\n"


def _lines(node: Node, indent: str) -> list[str]:
    below = [line for child in sorted(node.children, key=_place) for line in _lines(child, indent + "  ")]
    return [indent + _line(node), *below]


def _place(node: Node) -> tuple[int, int, str]:
    """Model calls before the tools they asked for, steps by agent and in their order, tools by what they say."""
    if isinstance(node, StepNode):
        return 2, node.agent_step, node.agent or ""
    if isinstance(node, ToolNode):
        return 1, 0, _line(node)
    return 0, node.started_at, node.id


def _line(node: Node) -> str:
    match node:
        case RunNode():
            words = ["run", *_end(node), *_whose(node), f"${exact_usd(node.spent.nano_usd)}"]
            words += [f"-> {node.output}"] if node.output is not None else []
        case StepNode():
            words = [f"step {node.agent_step} of {node.agent}:", *_end(node)]
        case LLMNode():
            name = "llm" if node.kind == "chat" else node.kind
            words = [name, f"{node.provider}/{node.model_name}", *_end(node), *_spent(node)]
        case ToolNode():
            words = [node.kind, f"{node.name}{_canonical(node.arguments)}", *_end(node)]
            words += [f"-> {node.result}"] if node.status == "success" else []
        case _:
            raise TypeError(f"no line for {node!r}")
    return " ".join(words)


def _end(node: Node) -> list[str]:
    stopped = node.error_type == "budget_exceeded"
    return [node.status, "(budget_exceeded)"] if stopped else [node.status]


def _whose(run: RunNode) -> list[str]:
    """User and session; a run without a session is its own."""
    user = [f"user={run.user_id}"] if run.user_id else []
    return user if run.session_id == run.id else [*user, f"session={run.session_id}"]


def _spent(call: LLMNode) -> list[str]:
    if call.usage_source == "estimated":
        return ["estimated"]
    counts = [f"{name}={count}" for name, column in COUNTERS.items() if (count := getattr(call, column))]
    return [*counts, "unpriced" if call.cost_nano_usd is None else f"${exact_usd(call.cost_nano_usd)}"]


def _canonical(arguments: str | None) -> str:
    """Arguments as sorted JSON, without blanks that differ."""
    return json.dumps(json.loads(arguments), sort_keys=True) if arguments else "{}"
