"""A stored run as text, without ids and times: what two calling styles must share, and a diff when they do not."""

from __future__ import annotations

from typing import Any

from tokentrace_core.store.reader import Reader, Row


def tree(reader: Reader, reference: str = "last") -> str:
    """The run, its steps in order, their calls, and below a tool call the agents that it spawned."""
    run = reader.run(reference)
    lines = [f"run {run['name']} {_end(run)}: {run['input']} -> {run['output']}"]
    calls = [_LLM(row) for row in reader.llm_calls(run["id"])]
    calls += [_Tool(row) for row in reader.tool_calls(run["id"])]
    _add_steps(lines, reader.steps(run["id"]), calls, None, "  ")
    lines += [f"  (no step) {call.line}" for call in calls if call.row["step_id"] is None]
    return "\n".join(lines) + "\n"


class _Call:
    def __init__(self, row: Row) -> None:
        self.row = row

    @property
    def line(self) -> str:
        raise NotImplementedError


class _LLM(_Call):
    @property
    def line(self) -> str:
        row = self.row
        kind = "llm" if row["kind"] == "chat" else row["kind"]
        usage = "" if row["usage_source"] == "reported" else f" {row['usage_source']}"
        return f"{kind} {row['model']} {_end(row)}{usage}"


class _Tool(_Call):
    @property
    def line(self) -> str:
        row = self.row
        return f"{row['kind']} {row['name']}{row['arguments']} {_end(row)}: {row['result']}"


def _add_steps(
    lines: list[str], steps: list[Row], calls: list[Any], spawned_by: str | None, indent: str
) -> None:
    for step in (step for step in steps if step["parent_call_id"] == spawned_by):
        lines.append(f"{indent}step {step['agent']} {step['agent_step']} {step['name'] or '-'} {_end(step)}")
        own = [call for call in calls if call.row["step_id"] == step["id"]]
        # Parallel calls begin in any order.
        for call in sorted(own, key=lambda call: (isinstance(call, _Tool), call.line)):
            lines.append(f"{indent}  {call.line}")
            _add_steps(lines, steps, calls, call.row["id"], indent + "    ")


def _end(row: Row) -> str:
    return row["status"] + (f" ({row['error_type']})" if row["error_type"] else "")
