"""Which model call asked for which tool call, and runs of identical tool calls: what storms and loops are made of."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tokentrace_core.analysis.audit.calls import Call, Talk, ToolUse, TracedRun

#: Fewer calls that are alike are neither a storm nor a loop.
LEAST = 3

Same = tuple[Talk, str, str | None]
"""The conversation, the tool, its arguments."""


class Asked:
    """Who asked for which tool call in one run: the latest model call of the conversation that began before it."""

    def __init__(self, run: TracedRun) -> None:
        self._of_talk: dict[Talk, list[Call]] = defaultdict(list)
        for call in run.calls:
            self._of_talk[call.talk].append(call)
        self._begun = {talk: [call.started_at for call in made] for talk, made in self._of_talk.items()}
        self._asked: dict[Call, list[ToolUse]] = defaultdict(list)
        for tool in run.tools:
            asking = self._asking(tool)
            if asking is not None:
                self._asked[asking].append(tool)

    def only_for(self, tools: Iterable[ToolUse]) -> list[Call]:
        """The model calls that asked for these tool calls and for nothing else, in their order."""
        needless = {tool.id for tool in tools}
        return [call for call, made in self._asked.items() if all(tool.id in needless for tool in made)]

    def _asking(self, tool: ToolUse) -> Call | None:
        made = self._of_talk.get(tool.talk, [])
        before = bisect_right(self._begun.get(tool.talk, []), tool.started_at)
        return made[before - 1] if before else None


def same_tools(tools: Iterable[ToolUse], least: int = LEAST) -> Iterator[list[ToolUse]]:
    """Tool calls of one run that are alike, so many and more: the same conversation, tool and arguments. In the order of time."""
    alike: dict[Same, list[ToolUse]] = defaultdict(list)
    for tool in tools:
        alike[tool.talk, tool.name, tool.arguments_hash].append(tool)
    yield from (several for several in alike.values() if len(several) >= least)
