"""Whether tools returned the same: of results that begin alike the rest is read, and only of those."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from tokentrace_core.analysis.audit.calls import BEGINNING, ToolUse
from tokentrace_core.store.reader import Reader

_RESULTS = (
    "select id, result from main.tool_calls where run_id = ? and id in (select value from json_each(?))"
)


class Results:
    """Reads results of tools."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def alike(self, tools: Sequence[ToolUse]) -> list[list[ToolUse]]:
        """Calls of one run whose results begin alike and are of one size: those with the same result together."""
        if len(tools[0].begins or "") < BEGINNING:
            return [list(tools)]
        ids = json.dumps([tool.id for tool in tools])
        results = dict(self._reader.execute(_RESULTS, [tools[0].run.id, ids]))
        same: dict[object, list[ToolUse]] = defaultdict(list)
        for tool in tools:
            same[results.get(tool.id)].append(tool)
        return list(same.values())
