"""Oversized tool results: more of a result in the prompt than it takes, paid for in that prompt and in each later one of the run.

How much a task takes of a result, nobody can see from outside. Two cases are plain all the same:

- a tool whose results are mostly of one size returns, now and then, eight times that and more. Then the usual size serves, or 1,000 tokens
  if that is more, and what is beyond them is wasted. A tool whose results are of any size (one that reads files) has no usual size, and is
  let be;
- a result of more than 25,000 tokens, whatever the tool. What is beyond them is wasted.

What would have been paid: the prompt without these tokens, at the price that they had there: new, read from the cache, or written to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

from msgspec import Struct

from tokentrace_core.analysis.audit.account import Account
from tokentrace_core.analysis.audit.calls import Call, Page, ToolUse, TracedRun
from tokentrace_core.analysis.audit.findings import Tally, Title, plain
from tokentrace_core.analysis.audit.looks import Case, Look
from tokentrace_core.analysis.audit.nodes import Node, Place, upwards
from tokentrace_core.analysis.audit.prompts import Prompts

KIND = "oversized_result"
#: A result below 2,000 tokens (of 4 bytes) is let pass.
LEAST_BYTES = 8_000
#: Three of four results are at most twice the median: the tool has a usual size. And so many results are needed to say so.
USUAL_SPREAD, USUAL_RESULTS = 2, 10
#: A result cut to less would serve nobody: 1,000 tokens.
LEAST_KEPT = 4_000
#: That many times the usual size is oversized.
TIMES_USUAL = 8
#: What no result should be larger than: the limit that Claude Code sets to the tools of its servers.
MOST_BYTES = 4 * 25_000


class _Limit(NamedTuple):
    above: int
    """Bytes from which on a result is oversized."""
    keep: int
    """Bytes that serve."""


class Sizes(Struct):
    """Of results, in bytes."""

    of: dict[str, list[int]] = {}
    """Of each tool."""
    large: list[tuple[str, str, int]] = []
    """Run, tool and size of those that may be oversized."""


class OversizedResult(Look[Sizes]):
    tells = Sizes

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._sizes = Sizes()
        self._limits: dict[str, _Limit] = {}
        self._runs: set[str] = set()

    def see(self, page: Page) -> None:
        sizes, large = self._sizes.of, self._sizes.large
        for tool in page.tools:
            size = tool.result_bytes
            if size is not None:
                sizes.setdefault(tool.name, []).append(size)
                if size >= LEAST_BYTES:
                    large.append((tool.run.id, tool.name, size))

    def told(self) -> Sizes:
        return self._sizes

    def hear(self, told: Sizes) -> None:
        for name, sizes in told.of.items():
            self._sizes.of.setdefault(name, []).extend(sizes)
        self._sizes.large += told.large

    def again(self) -> Iterable[str]:
        self._limits = {name: _limit(sorted(sizes)) for name, sizes in self._sizes.of.items()}
        self._runs = {run_id for run_id, name, size in self._sizes.large if size > self._limits[name].above}
        return self._runs

    def see_again(self, run: TracedRun) -> None:
        if run.run.id in self._runs:
            large = [tool for tool in run.tools if _is_oversized(tool, self._limits)]
            _claim(run.calls, large, self._limits, self.prompts, self.account, self.tally)


def _limit(sizes: list[int]) -> _Limit:
    median, most = sizes[len(sizes) // 2], sizes[len(sizes) * 3 // 4]
    if len(sizes) >= USUAL_RESULTS and most <= USUAL_SPREAD * max(median, 1):
        return _Limit(
            min(max(LEAST_BYTES, TIMES_USUAL * median), MOST_BYTES), min(max(median, LEAST_KEPT), MOST_BYTES)
        )
    return _Limit(MOST_BYTES, MOST_BYTES)


def _is_oversized(tool: ToolUse, limits: dict[str, _Limit]) -> bool:
    return tool.result_bytes is not None and tool.result_bytes > limits[tool.name].above


def _claim(
    calls: list[Call],
    tools: list[ToolUse],
    limits: dict[str, _Limit],
    prompts: Prompts,
    account: Account,
    tally: Tally,
) -> None:
    results: dict[str, ToolUse | None] = {}
    told: set[str] = set()
    for call in calls:
        leaf = call.leaf
        for node in upwards(leaf):
            if node.role != "tool" or node.size < LEAST_BYTES or leaf is None:
                continue
            if node.message_id not in results:
                results[node.message_id] = _result_of(node, tools, prompts)
            tool = results[node.message_id]
            if tool is not None:
                place = Place(call.prompt, leaf, prompts.tools_size(call.tools_id))
                begin = place.tokens(node.begins + limits[tool.name].keep)
                waste = account.prompt(call, begin, place.tokens(node.ends), cached=False)
                tally.add(
                    KIND,
                    call,
                    (call.who, tool.name),
                    partial(_title, call, tool),
                    [waste],
                    times=int(tool.id not in told),
                )
                told.add(tool.id)


def _title(call: Call, tool: ToolUse) -> Title:
    return Title(
        f"{plain(call.who)}: {plain(tool.name)} returned {{times}} results far beyond what serves, sent in {{calls}} prompts"
    )


def _result_of(node: Node, tools: list[ToolUse], prompts: Prompts) -> ToolUse | None:
    """The tool call whose result this message is: by its id, else by its size."""
    try:
        message = json.loads(prompts.text(node.message_id))
    except ValueError:
        message = None
    asked = message.get("tool_call_id") if isinstance(message, dict) else None
    same = [tool for tool in tools if asked and tool.asked_as == asked]
    near = [tool for tool in tools if abs(node.size - (tool.result_bytes or 0)) <= node.size // 10]
    return next(iter(same or near), None)
